"""Section train of params.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cyclip_model.model.towers import PreprocessConfig, TowersConfig
from cyclip_model.model.warm_start import WarmStartConfig
from cyclip_model.rows.augment import AugmentConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Section train."""

    epochs: int
    """Passes over the training rows, at least 1."""
    batch_size: int
    """Pairs in a step, at least 2; the last incomplete batch of an epoch is left out."""
    lr: float
    """Peak learning rate of AdamW."""
    betas: list[float]
    """AdamW's two decay rates, 0..1."""
    eps: float
    """AdamW's epsilon."""
    weight_decay: float
    """Of matrices and kernels only."""
    warmup_frac: float
    """Share of all steps in linear warm-up, 0..1."""
    grad_clip_norm: float
    """Largest norm of all gradients together."""
    threads: int
    """Of torch on the CPU; part of the result: another number gives other last bits."""
    processes: int
    """Ranks that share every batch, each with a GPU of its own or `threads` of the CPU; part of the result as well."""
    precision: Literal["fp32", "bf16"]
    """Of the towers' arithmetic; weights, features and losses are float32 either way."""
    micro_batch_size: int
    """Pairs that go through the towers at a time, at least 1; a step's loss is the whole batch's all the same."""
    checkpoint_activations: bool
    """Whether towers make their activations again in the backward pass: less memory, a third more time."""
    compile: bool
    """Whether torch.compile makes the towers' kernels; takes a minute or two first."""
    ema_decay: float
    """Of the weights' moving average a step, 0..1; above 0, it is the average that is validated and kept."""
    warm_start: WarmStartConfig | None
    """What model the towers start from; null for fresh ones."""
    augment: AugmentConfig
    towers: TowersConfig
    preprocess: PreprocessConfig

    def __post_init__(self) -> None:
        if min(self.epochs, self.threads, self.processes, self.micro_batch_size) < 1 or self.batch_size < 2:
            raise ValueError("epochs, threads, processes, micro_batch_size are at least 1, batch_size at least 2")
        if self.batch_size % self.processes:
            raise ValueError(f"batch_size {self.batch_size} cannot be shared evenly by {self.processes} processes")
        if 1 in (self.micro_batch_size, self.batch_size // self.processes % self.micro_batch_size):
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size} leaves a micro-batch of one pair of the "
                f"{self.batch_size // self.processes} of a process, and BatchNorms need two"
            )
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is in 0..1 and not 1, not {self.ema_decay}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are two numbers in 0..1, not {self.betas}")
        if min(self.lr, self.eps, self.grad_clip_norm) <= 0 or self.weight_decay < 0 or not 0 <= self.warmup_frac < 1:
            raise ValueError(
                "lr, eps and grad_clip_norm are above 0, weight_decay is not negative, warmup_frac is in 0..1"
            )
