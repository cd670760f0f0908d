"""The training loop: rows in memory and freshly built towers to trained weights and one record per epoch.

On one machine, at one thread count and one build of torch, equal inputs give equal bits, also when a killed run goes on
from its last epoch: every random draw is a function of (seed, epoch, batch) and the rate one of the step.

Shapes: B batch, C = 3 channels, H and W pixels, L tokens, D embedding.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cyclip_model import augment, data, losses, optim
from cyclip_model.augment import AugmentConfig
from cyclip_model.learner import Learner
from cyclip_model.towers import PreprocessConfig, TowersConfig
from lineage import stage

logger = logging.getLogger("clipline")


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
    precision: Literal["fp32", "bf16"]
    """Of the towers' arithmetic; weights, features and losses are float32 either way."""
    augment: AugmentConfig
    towers: TowersConfig
    preprocess: PreprocessConfig

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.threads < 1:
            raise ValueError("epochs and threads are at least 1, batch_size at least 2")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas are two numbers in 0..1, not {self.betas}")
        if min(self.lr, self.eps, self.grad_clip_norm) <= 0 or self.weight_decay < 0 or not 0 <= self.warmup_frac < 1:
            raise ValueError(
                "lr, eps and grad_clip_norm are above 0, weight_decay is not negative, warmup_frac is in 0..1"
            )


class Recipe(NamedTuple):
    """Everything but the rows that decides what comes out."""

    config: TrainConfig
    parts: Callable[[losses.Features], dict[str, Tensor]]
    """The objective with its config bound."""
    seed: int
    device: torch.device


Record = dict[str, float]
"""One epoch in history.csv, by column."""


def fit(
    learner: Learner, rows: data.Rows, held_out: data.Rows | None, recipe: Recipe, checkpoint: Path
) -> list[Record]:
    """Trains learner in place, leaves it in eval mode on the CPU, and returns one record per epoch.

    Args:
        held_out: what val_loss is taken on after each epoch; None where none is wanted.
        checkpoint: written after each epoch; a run that finds it goes on from there, bit for bit.

    Raises:
        ValueError: there are fewer rows than a batch has, or the loss is no longer a number.
    """
    config = recipe.config
    if len(rows) < config.batch_size:
        raise ValueError(
            f"the data set has {len(rows)} training rows, fewer than train.batch_size = {config.batch_size}: "
            "lower it in params.yaml, or loosen select so that more rows are kept"
        )
    if held_out is not None and not len(held_out):
        logger.warning("the val split is empty: history.csv has no val_loss")
    learner.to(recipe.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    groups = optim.param_groups(learner, config.weight_decay)
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(config.betas[0], config.betas[1]), eps=config.eps)
    history = _resume(checkpoint, learner, optimizer)
    for epoch in stage.progress(range(len(history), config.epochs), label="train epochs"):
        history.append(_epoch(learner, optimizer, rows, recipe, epoch))
        if held_out:
            history[-1]["val_loss"] = validate(learner, held_out, recipe)
        logger.info("%s", "  ".join(f"{column} {value:.4g}" for column, value in history[-1].items()))
        _save_checkpoint(checkpoint, learner, optimizer, history)
    learner.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return history


def _epoch(learner: Learner, optimizer: torch.optim.Optimizer, rows: data.Rows, recipe: Recipe, epoch: int) -> Record:
    """One pass over the rows; returns the means over its steps."""
    config = recipe.config
    batches = data.batches(len(rows), config.batch_size, recipe.seed, epoch)
    num_steps = config.epochs * len(batches)
    learner.train()
    # For towers that draw from the global generator, as patch dropout does: resuming must not change what they draw.
    torch.manual_seed(augment.draws(recipe.seed, epoch, len(batches)).initial_seed())
    steps: list[Record] = []
    for number, batch in enumerate(batches):
        step = epoch * len(batches) + number
        images = _views(rows.images[batch], recipe, augment.draws(recipe.seed, epoch, number))
        parts = recipe.parts(learner(images, rows.tokens[batch].to(recipe.device)))
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(parts["loss"])
        rate = optim.learning_rate(step, num_steps, config.lr, config.warmup_frac)
        norm = optim.update(learner, optimizer, rate, config.grad_clip_norm)
        steps.append({**{part: float(value.detach()) for part, value in parts.items()}, "grad_norm": norm})
        _refuse_nan(steps[-1], step, epoch)
    means = {part: math.fsum(record[part] for record in steps) / len(steps) for part in steps[0]}
    scale = float(learner.towers.logit_scale.detach().exp())
    unit = losses.cyclic_unit(config.batch_size, config.towers.embed_dim)
    return {
        "epoch": epoch + 1,
        "step": (epoch + 1) * len(batches),
        "lr": rate,
        **means,
        "logit_scale": scale,
        "2B/D": unit,
    }


def _views(images_BCHW: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """The towers' input for one training batch of uint8 pictures: augmented, then normalised."""
    moved = augment.augment(images_BCHW.to(recipe.device), recipe.config.augment, generator)
    return augment.normalise(moved, recipe.config.preprocess.mean, recipe.config.preprocess.std)


@torch.no_grad()
def validate(learner: Learner, rows: data.Rows, recipe: Recipe) -> float:
    """Mean loss of the rows as they are, in batches of train.batch_size, the last one shorter.

    The contrastive part of the objective, which objectives can be compared by; all of an objective that has none.
    """
    learner.eval()
    preprocess, total = recipe.config.preprocess, 0.0
    for start in range(0, len(rows), recipe.config.batch_size):
        batch = slice(start, start + recipe.config.batch_size)
        images = augment.normalise(rows.images[batch].to(recipe.device).float() / 255, preprocess.mean, preprocess.std)
        found = learner(images, rows.tokens[batch].to(recipe.device))
        parts = recipe.parts(found)
        total += float(parts.get("contrastive", parts["loss"])) * len(found.image_BD)
    return total / len(rows)


def _refuse_nan(record: Record, step: int, epoch: int) -> None:
    if not all(math.isfinite(value) for value in record.values()):
        raise ValueError(
            f"training broke down at step {step} (epoch {epoch + 1}): loss {record['loss']}, gradient norm "
            f"{record['grad_norm']}; try a lower train.lr, a higher train.warmup_frac, or train.precision: fp32"
        )


def _save_checkpoint(path: Path, learner: Learner, optimizer: torch.optim.Optimizer, history: list[Record]) -> None:
    partial = path.with_suffix(".partial")
    torch.save({"learner": learner.state_dict(), "optimizer": optimizer.state_dict(), "history": history}, partial)
    os.replace(partial, path)


def _resume(path: Path, learner: Learner, optimizer: torch.optim.Optimizer) -> list[Record]:
    """The history so far, with learner and optimizer brought to its end; empty when there is no checkpoint."""
    if not path.is_file():
        return []
    state = torch.load(path, weights_only=True)
    learner.load_state_dict(state["learner"])
    optimizer.load_state_dict(state["optimizer"])
    logger.info("going on after epoch %d", len(state["history"]))
    return list(state["history"])


def exposure(num_rows: int, config: TrainConfig, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How often each row was drawn into a batch, int64 (num_rows,)."""
    counts = np.zeros(num_rows, dtype=np.int64)
    for epoch in range(config.epochs):
        counts[data.batches(num_rows, config.batch_size, seed, epoch)] += 1
    return counts
