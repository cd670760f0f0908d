"""What is decayed, how fast the weights move, and how far the temperature may go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from cyclip_model.model.learner import Learner

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
POSITIONS = ("positional_embedding", "class_embedding", "pos_embed", "cls_token", "reg_token", "dist_token")
"""By open_clip's names and by timm's."""
MAX_LOG_SCALE = math.log(100)
"""The bound of the CLIP paper, section 2.5."""


def param_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for AdamW: matrices and kernels with weight_decay; norms, biases, positions and scalars without.

    Grouped by the module that owns a parameter, because names slip: a norm in a downsample branch is called "1".
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_plain = isinstance(module, NORMS) or name in POSITIONS or parameter.ndim < 2
            (plain if is_plain else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def learning_rate(step: int, num_steps: int, peak: float, warmup_frac: float) -> float:
    """The rate of step (from 0) of num_steps: linear warm-up over the first warmup_frac, then a cosine towards 0."""
    num_warmup = round(warmup_frac * num_steps)
    if step < num_warmup:
        return peak * (step + 1) / num_warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / (num_steps - num_warmup)))


def update(learner: Learner, optimizer: torch.optim.Optimizer, rate: float, grad_clip_norm: float) -> float:
    """Takes one step at this rate and returns the norm of all gradients before clipping.

    Clamping the temperature to [0, ln 100] is part of the step.
    """
    norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), grad_clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    with torch.no_grad():
        learner.towers.logit_scale.clamp_(0, MAX_LOG_SCALE)
    return float(norm)
