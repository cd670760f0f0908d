"""The symmetric contrastive loss of CLIP (arXiv 2103.00020, section 2.3).

With unit rows I (pictures) and T (captions) of the same B pairs and s the logit multiplier:

    L_CLIP = 1/2 [ CE(s * I T', diagonal) + CE(s * T I', diagonal) ],   means over the B rows.

Shapes: B batch, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


class Features(NamedTuple):
    """What every objective reads: the global batch after both towers."""

    image_BD: Tensor
    """Picture embeddings, float, rows of length 1."""
    text_BD: Tensor
    """Caption embeddings of the same pairs, in the same order."""
    logit_scale: Tensor
    """The logit multiplier exp(model.logit_scale), a scalar; not its logarithm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipConfig:
    """Section losses.clip: nothing to set."""


def clip_loss(image_BD: Tensor, text_BD: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Mean symmetric cross-entropy in nats, a scalar; row i of both inputs is one pair.

    Args:
        image_BD, text_BD: unit rows of one dtype.
        logit_scale: the multiplier exp(log scale), so 14.3 at the start and at most 100.
    """
    logits_BB = logit_scale * image_BD @ text_BD.T
    target_B = torch.arange(len(image_BD), device=image_BD.device)
    return (cross_entropy(logits_BB, target_B) + cross_entropy(logits_BB.T, target_B)) / 2


def clip_parts(features: Features, _config: ClipConfig) -> dict[str, Tensor]:
    """The objective's scalars by name; `loss` is the one to minimise."""
    contrastive = clip_loss(*features)
    return {"loss": contrastive, "contrastive": contrastive}
