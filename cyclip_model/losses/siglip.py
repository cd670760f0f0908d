"""SigLIP: every pair of the batch is a question of its own (arXiv 2303.15343, section 3).

    L = -1/B sum_ij log sigmoid( z_ij (s <I_i, T_j> + b) ),   z_ij = 1 where i = j, and -1 elsewhere

s and the bias b are learnt; the paper starts at s = 10, b = -10.

Shapes: B batch, D embedding; on several ranks inputs are a rank's own rows and B counts all ranks' (across.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

from cyclip_model.losses import across
from cyclip_model.losses.clip import Features

_TILE_ROWS = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class SiglipConfig:
    """Section losses.siglip: nothing to set."""


def siglip_loss(image_BD: Tensor, text_BD: Tensor, logit_scale: Tensor, logit_bias: Tensor) -> Tensor:
    """Mean over the pictures of the pairwise sigmoid loss in nats, a scalar; O(B) memory for tiles of rows.

    Args:
        image_BD, text_BD: unit rows; row i of both is one pair.
        logit_scale, logit_bias: s and b, scalars.
    """
    all_BD, first = across.gathered(text_BD), across.first_row(len(image_BD))
    tiles = range(0, len(image_BD), _TILE_ROWS)
    terms = [
        checkpoint(
            _tile,
            image_BD[start : start + _TILE_ROWS],
            all_BD,
            logit_scale,
            logit_bias,
            start + first,
            use_reentrant=False,
        )
        for start in tiles
    ]
    return torch.stack(terms).sum() / len(image_BD)


def _tile(image_TD: Tensor, text_BD: Tensor, logit_scale: Tensor, logit_bias: Tensor, first: int) -> Tensor:
    logits_TB = logit_scale * image_TD @ text_BD.T + logit_bias
    own_T = logits_TB.diagonal(first)[: len(image_TD)]
    return softplus(logits_TB).sum() - own_T.sum()  # softplus(-z) = softplus(z) - z


def siglip_parts(features: Features, _config: SiglipConfig) -> dict[str, Tensor]:
    """The objective's scalars by name.

    Raises:
        ValueError: the towers have no logit_bias.
    """
    if features.logit_bias is None:
        raise ValueError("SigLIP needs towers with a logit_bias")
    return {"loss": siglip_loss(*features[:4])}  # type: ignore[arg-type]
