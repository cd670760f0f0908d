"""Linear probe on frozen features, with the recipe of CyCLIP's evaluation."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cyclip_model.metrics.zeroshot import Floats, Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """Recipe of the linear probe."""

    learning_rate: float
    """Peak rate of AdamW, cosine to 0 over all steps."""
    weight_decay: float
    """On the weights, none on the bias."""
    epochs: int
    """Passes over the training part."""
    batch_size: int
    """Rows a step."""
    seed: int
    """Of the order of the rows, the only random thing: the layer starts at zero."""


def fit(
    feature_NF: Floats, label_N: Ints, num_classes: int, config: ProbeConfig, *, device: str = "cpu"
) -> tuple[Floats, Floats]:
    """Weight (C, F) and bias (C,), float32, of a softmax layer trained on un-normalised features (N, F)."""
    x_NF, y_N = torch.from_numpy(feature_NF.astype(np.float32)).to(device), torch.from_numpy(label_N).to(device)
    weight_CF = torch.zeros(num_classes, x_NF.shape[1], device=device, requires_grad=True)
    bias_C = torch.zeros(num_classes, device=device, requires_grad=True)
    groups = [{"params": [weight_CF], "weight_decay": config.weight_decay}, {"params": [bias_C], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    batches = _batches(len(y_N), config)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=len(batches))
    for order_B in batches:
        rows = order_B.to(device)
        optimiser.zero_grad()
        loss = cross_entropy(x_NF[rows] @ weight_CF.T + bias_C, y_N[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return weight_CF.detach().cpu().numpy(), bias_C.detach().cpu().numpy()


def _batches(num_rows: int, config: ProbeConfig) -> list[Tensor]:
    generator = torch.Generator().manual_seed(config.seed)
    orders = [torch.randperm(num_rows, generator=generator) for _ in range(config.epochs)]
    return [rows for order in orders for rows in torch.split(order, config.batch_size)]


def logits(feature_NF: Floats, weight_CF: Floats, bias_C: Floats) -> Floats:
    """(N, C) float32 scores of the layer."""
    x_NF, w_CF = torch.from_numpy(feature_NF.astype(np.float32)), torch.from_numpy(weight_CF)
    scores: Floats = (x_NF @ w_CF.T + torch.from_numpy(bias_C)).numpy()
    return scores
