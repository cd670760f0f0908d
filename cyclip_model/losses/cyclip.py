"""CyCLIP: contrastive loss with two geometric consistency terms (arXiv 2205.14459, section 3).

With unit rows I and T of the same B pairs:

    in-modal     L_I = 1/B sum_jk ( <I_j,I_k> - <T_j,T_k> )^2
    cross-modal  L_C = 1/B sum_jk ( <I_j,T_k> - <I_k,T_j> )^2
    L = L_CLIP + lambda_1 L_I + lambda_2 L_C

The temperature enters neither term and gets no gradient from them; nothing is detached.

The double sum is divided by B once, so for independent unit rows each term is about 2B/D and a lambda does not carry
over to another batch size or width. The paper's lambda belongs to B = 128, D = 1024, that is 2B/D = 0.25.

Shapes: B batch, D embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from cyclip_model.losses.clip import Features, clip_loss

PAPER_CYCLIC_UNIT = 2 * 128 / 1024
"""2B/D where the paper tuned its lambdas: batch 128 (section 4), ResNet-50 width 1024."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CyclipConfig:
    """Section losses.cyclip."""

    lambda_in_modal: float
    """Weight of the in-modal term, >= 0."""
    lambda_cross_modal: float
    """Weight of the cross-modal term, >= 0."""
    cyclic_scale: Literal["normalised", "paper"]
    """`paper` uses the lambdas as they are; `normalised` divides them by (2B/D)/0.25: equal at the paper's B and D."""

    def __post_init__(self) -> None:
        for key in ("lambda_in_modal", "lambda_cross_modal"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ValueError(f"{key} must be a number >= 0, not {getattr(self, key)}")


def cyclic_losses(image_BD: Tensor, text_BD: Tensor) -> tuple[Tensor, Tensor]:
    """(in-modal, cross-modal) losses, two scalars of the inputs' dtype.

    One value, two ways to compute it: B x B matrices up to B = D, D x D ones beyond, where they are cheaper
    (O(B D^2) time, O(D^2) memory).

    Args:
        image_BD, text_BD: unit rows; row i of both is one pair.
    """
    batch, width = image_BD.shape
    return _by_pairs(image_BD, text_BD) if batch <= width else _by_widths(image_BD, text_BD)


def _by_pairs(image_BD: Tensor, text_BD: Tensor) -> tuple[Tensor, Tensor]:
    cross_BB = image_BD @ text_BD.T
    in_modal_BB = image_BD @ image_BD.T - text_BD @ text_BD.T
    batch = len(image_BD)
    return in_modal_BB.square().sum() / batch, (cross_BB - cross_BB.T).square().sum() / batch


def _by_widths(image_BD: Tensor, text_BD: Tensor) -> tuple[Tensor, Tensor]:
    # Sum and difference first: Grams of I and T are exact too, but cancel once the loss is small.
    sum_BD, difference_BD = image_BD + text_BD, image_BD - text_BD
    mixed_DD = sum_BD.T @ difference_BD
    u = ((sum_BD.T @ sum_BD) * (difference_BD.T @ difference_BD)).sum()
    v = (mixed_DD * mixed_DD.T).sum()
    return (u + v) / (2 * len(image_BD)), (u - v) / (2 * len(image_BD))


def cyclip_parts(features: Features, config: CyclipConfig) -> dict[str, Tensor]:
    """The objective's scalars by name; the cyclic terms are logged as the paper defines them, before any weight."""
    image_BD, text_BD, logit_scale = features
    contrastive = clip_loss(image_BD, text_BD, logit_scale)
    in_modal, cross_modal = cyclic_losses(image_BD, text_BD)
    scale = 1.0 if config.cyclic_scale == "paper" else PAPER_CYCLIC_UNIT / cyclic_unit(*image_BD.shape)
    cyclic = config.lambda_in_modal * in_modal + config.lambda_cross_modal * cross_modal
    return {
        "loss": contrastive + scale * cyclic,
        "contrastive": contrastive,
        "in_modal": in_modal,
        "cross_modal": cross_modal,
    }


def cyclic_unit(batch: int, width: int) -> float:
    """2B/D: what each cyclic term is worth for independent unit rows."""
    return 2 * batch / width
