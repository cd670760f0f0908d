"""Batches for the tests of the losses, in float64."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def unit_rows(batch: int, width: int, seed: int) -> Tensor:
    """Independent rows of length 1."""
    return normalize(randn((batch, width), seed), dim=-1)


def randn(shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pairs(batch: int, width: int, *, noise: float = 1.0, gap: float = 0.0) -> tuple[Tensor, Tensor]:
    """Unit rows and others that differ from them by noise, either side of a common offset of this length."""
    image = unit_rows(batch, width, 0)
    text = normalize(image + noise * unit_rows(batch, width, 1), dim=-1)
    offset = gap * unit_rows(1, width, 2)
    return normalize(image + offset, dim=-1), normalize(text - offset, dim=-1)
