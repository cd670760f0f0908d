"""Random views of a batch of pictures, drawn from (seed, epoch, batch) alone.

Shapes: B batch, C = 3 channels, H and W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601: what PIL and torchvision call gray."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """Section train.augment."""

    scale_min: float
    """Least zoom of the picture, above 0; 1 leaves its size."""
    scale_max: float
    """Largest zoom."""
    shift_frac: float
    """Largest shift along each axis, as a fraction of the picture's side."""
    rotation_rad: float
    """Largest turn either way, in radians."""
    gray_prob: float
    """Share of pictures turned gray, 0..1."""

    def __post_init__(self) -> None:
        if not 0 < self.scale_min <= self.scale_max:
            raise ValueError("needs 0 < scale_min <= scale_max")
        if not 0 <= self.gray_prob <= 1:
            raise ValueError(f"gray_prob is a share in 0..1, not {self.gray_prob}")


def draws(seed: int, epoch: int, batch: int, view: int = 0) -> torch.Generator:
    """The generator of one batch's augmentation: a CPU one, so that every device gets the same draws.

    Args:
        view: 0 for the first views of the batch, 1 for the second ones.
    """
    state = np.random.default_rng([seed, epoch, batch, *([view] if view else [])]).integers(2**63)
    return torch.Generator().manual_seed(int(state))


def augment(
    images_RCHW: Tensor, config: AugmentConfig, generator: torch.Generator, share: slice | None = None, batch: int = 0
) -> Tensor:
    """float32 (R, C, H, W) in 0..1: each picture zoomed, shifted and turned on white ground, some in gray.

    Args:
        images_RCHW: uint8, any device; the result is on the same.
        share, batch: which rows of a batch of how many these are; the whole batch where not given. What is drawn for a
            row does not depend on which rank it falls to.
    """
    own = share or slice(0, len(images_RCHW))
    theta_B23, is_gray_B = _draw(batch or len(images_RCHW), config, generator)
    images = images_RCHW.float() / 255
    grid = affine_grid(theta_B23[own].to(images.device), list(images.shape), align_corners=False)
    # grid_sample pads with zeros: inverted, that is white.
    moved = 1 - grid_sample(1 - images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    gray = (moved * moved.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return torch.where(is_gray_B[own].to(images.device).view(-1, 1, 1, 1), gray, moved)


def _draw(batch: int, config: AugmentConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Affine maps from output to input coordinates (B, 2, 3), and which pictures turn gray (B,)."""
    uniform = torch.rand((5, batch), generator=generator)
    scale = config.scale_min + (config.scale_max - config.scale_min) * uniform[0]
    angle = config.rotation_rad * (2 * uniform[1] - 1)
    # The grid spans -1..1, so a fraction of the side is twice that in its units.
    shift = 2 * config.shift_frac * (2 * uniform[2:4] - 1)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    rows = [torch.stack([cos, -sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1)]
    return torch.stack(rows, 1), uniform[4] < config.gray_prob


def normalise(images_BCHW: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """(images - mean) / std per channel, float32; images are floats in 0..1."""
    mean_C11 = images_BCHW.new_tensor(mean).view(-1, 1, 1)
    std_C11 = images_BCHW.new_tensor(std).view(-1, 1, 1)
    return (images_BCHW - mean_C11) / std_C11
