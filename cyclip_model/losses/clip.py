"""The symmetric contrastive loss of CLIP (arXiv 2103.00020, section 2.3).

With unit rows I (pictures) and T (captions) of the same B pairs and s the logit multiplier:

    L_CLIP = 1/2 [ CE(s * I T', diagonal) + CE(s * T I', diagonal) ],   means over the B rows.

Shapes: B batch, D embedding, K clusters. On several ranks inputs are a rank's own rows, B counts all ranks' and the
mean of the ranks' losses is the loss of all (across.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cyclip_model.losses import across
from cyclip_model.losses.tiles import contrast

_MOST_AT_ONCE = 512
"""Rows of a batch whose B x B matrix is made whole: below, tiles bring nothing."""


class CaptionEdits(NamedTuple):
    """How second views of captions are made; those of pictures are drawn as the first ones."""

    token_delete_prob: float
    """Of a token between start and end to be left out, 0..1."""
    token_swap_prob: float
    """Of such a token to change places with the next, 0..1."""


class Features(NamedTuple):
    """What every objective reads: the batch after both towers, and after the heads where the objective has some."""

    image_BD: Tensor
    """Picture embeddings, float, rows of length 1."""
    text_BD: Tensor
    """Caption embeddings of the same pairs, in the same order."""
    logit_scale: Tensor
    """The logit multiplier exp(model.logit_scale), a scalar; not its logarithm."""
    logit_bias: Tensor | None = None
    """What SigLIP adds to every logit, a scalar."""
    image_BK: Tensor | None = None
    """Cluster logits of the pictures, float32."""
    text_BK: Tensor | None = None
    """Cluster logits of the captions, float32."""
    image_view_BD: Tensor | None = None
    """Embeddings of a second, augmented view of the pictures."""
    text_view_BD: Tensor | None = None
    """Embeddings of a second, augmented view of the captions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipConfig:
    """Section losses.clip: nothing to set."""


def clip_loss(image_BD: Tensor, text_BD: Tensor, logit_scale: Tensor | float) -> Tensor:
    """Mean symmetric cross-entropy in nats, a scalar; row i of both inputs is one pair.

    Args:
        image_BD, text_BD: unit rows of one dtype.
        logit_scale: the multiplier exp(log scale), so 14.3 at the start and at most 100.
    """
    if across.world_size() > 1 or len(image_BD) > _MOST_AT_ONCE:
        return contrast(image_BD, text_BD, _as_scalar(logit_scale, image_BD))
    logits_BB = logit_scale * image_BD @ text_BD.T
    target_B = torch.arange(len(image_BD), device=image_BD.device)
    return (cross_entropy(logits_BB, target_B) + cross_entropy(logits_BB.T, target_B)) / 2


def at_least_float32(value: Tensor) -> Tensor:
    """What losses reckon with: half precision made float32, float64 left as it is."""
    return value if value.dtype == torch.float64 else value.float()


def view_loss(features: Features) -> Tensor:
    """CLIP's loss averaged with that of each modality and its augmented view, a scalar.

    1/2 L_CLIP + 1/4 [ CE(s * I I2', diagonal) + CE(s * T T2', diagonal) ]: CyCLIP's extra in-modal views.
    """
    image_BD, text_BD, logit_scale = features[:3]
    if features.image_view_BD is None or features.text_view_BD is None:
        raise ValueError("an objective with in-modal views needs the embeddings of both")
    images = contrast(image_BD, features.image_view_BD, logit_scale, columns=False)
    texts = contrast(text_BD, features.text_view_BD, logit_scale, columns=False)
    return clip_loss(image_BD, text_BD, logit_scale) / 2 + (images + texts) / 4


def clip_parts(features: Features, _config: ClipConfig) -> dict[str, Tensor]:
    """The objective's scalars by name; `loss` is the one to minimise."""
    contrastive = clip_loss(*features[:3])
    return {"loss": contrastive, "contrastive": contrastive}


def _as_scalar(value: Tensor | float, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else like.new_tensor(value)
