"""CyCLIP: contrastive loss with two geometric consistency terms (arXiv 2205.14459, section 3).

With unit rows I and T of the same B pairs:

    in-modal     L_I = 1/B sum_jk ( <I_j,I_k> - <T_j,T_k> )^2
    cross-modal  L_C = 1/B sum_jk ( <I_j,T_k> - <I_k,T_j> )^2
    L = L_CLIP + lambda_1 L_I + lambda_2 L_C

I-CyCLIP is lambda_2 = 0, C-CyCLIP lambda_1 = 0. The temperature enters neither term and gets no gradient from them;
nothing is detached.

The double sum is divided by B once, so for independent unit rows each term is about 2B/D and a lambda does not carry
over to another batch size or width. The paper's lambda belongs to B = 128, D = 1024, that is 2B/D = 0.25.

Closed form, exact in value and gradient. With A = I + T, E = I - T, P = A'A, Q = E'E, M = A'E, u = sum P o Q and
v = sum M o M' (elementwise products):

    B L_I = (u + v) / 2,   B L_C = (u - v) / 2,   and for one lambda:   lambda (L_I + L_C) = lambda u / B

Grams of I and T alone would be exact too, but cancel once the loss is small. P, Q and M are sums over rows: ranks add
D x D matrices instead of gathering rows.

Shapes: B batch, D embedding; on several ranks inputs are a rank's own rows and B counts all ranks' (across.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cyclip_model.losses import across
from cyclip_model.losses.clip import CaptionEdits, Features, clip_loss, view_loss
from cyclip_model.losses.grams import grams

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
    inmodal_views: bool
    """Whether the contrastive part looks at an augmented second view of each modality, too."""
    token_delete_prob: float
    """Of a token between start and end to be missing in the second view of a caption, 0..1."""
    token_swap_prob: float
    """Of such a token to change places with the next there, 0..1."""

    def __post_init__(self) -> None:
        for key in ("token_delete_prob", "token_swap_prob"):
            if not 0 <= getattr(self, key) <= 1:
                raise ValueError(f"{key} must be in 0..1, not {getattr(self, key)}")
        for key in ("lambda_in_modal", "lambda_cross_modal"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ValueError(f"{key} must be a number >= 0, not {getattr(self, key)}")

    def views(self) -> CaptionEdits | None:
        """How second views of captions are made; None where none are looked at."""
        return CaptionEdits(self.token_delete_prob, self.token_swap_prob) if self.inmodal_views else None


def cyclic_losses(image_BD: Tensor, text_BD: Tensor) -> tuple[Tensor, Tensor]:
    """(in-modal, cross-modal) losses of all ranks' rows, two scalars of the inputs' dtype.

    One value, two ways to compute it: B x B matrices up to B = D, D x D ones beyond, where they are cheaper
    (O(B D^2) time, O(D^2) memory).

    Args:
        image_BD, text_BD: unit rows; row i of both is one pair.
    """
    return _by_widths(image_BD, text_BD) if _is_wide(image_BD) else _by_pairs(image_BD, text_BD)


def cyclic_sum(image_BD: Tensor, text_BD: Tensor) -> Tensor:
    """In-modal plus cross-modal loss of all ranks' rows, a scalar: the one-trace form where B > D."""
    if not _is_wide(image_BD):
        return torch.stack(_by_pairs(image_BD, text_BD)).sum()
    p_DD, q_DD, _ = grams(image_BD, text_BD, mixed=False)
    return _paired(p_DD, q_DD) / _num_rows(image_BD)


def _by_pairs(image_BD: Tensor, text_BD: Tensor) -> tuple[Tensor, Tensor]:
    image_BD, text_BD = across.gathered(image_BD), across.gathered(text_BD)
    cross_BB = image_BD @ text_BD.T
    in_modal_BB = image_BD @ image_BD.T - text_BD @ text_BD.T
    batch = len(image_BD)
    return in_modal_BB.square().sum() / batch, (cross_BB - cross_BB.T).square().sum() / batch


def _by_widths(image_BD: Tensor, text_BD: Tensor) -> tuple[Tensor, Tensor]:
    return _from_traces(*_traces(image_BD, text_BD), image_BD)


def _traces(image_BD: Tensor, text_BD: Tensor, *, only_u: bool = False) -> tuple[Tensor, Tensor]:
    """(u, v), two scalars; of v no gradient where only that of u is asked for, which saves half the backward pass."""
    p_DD, q_DD, m_DD = grams(image_BD, text_BD)
    assert m_DD is not None
    m_DD = across.summed(m_DD.detach() if only_u else m_DD)
    return _paired(p_DD, q_DD), (m_DD * m_DD.T).sum()


def _paired(p_DD: Tensor, q_DD: Tensor) -> Tensor:
    """u of all ranks from one rank's P and Q."""
    both = across.summed(torch.stack((p_DD, q_DD))) if across.world_size() > 1 else (p_DD, q_DD)
    return (both[0] * both[1]).sum()


def _from_traces(u: Tensor, v: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    return (u + v) / (2 * _num_rows(rows)), (u - v) / (2 * _num_rows(rows))


def cyclip_parts(features: Features, config: CyclipConfig) -> dict[str, Tensor]:
    """The objective's scalars by name; the cyclic terms are logged as the paper defines them, before any weight."""
    image_BD, text_BD, logit_scale = features[:3]
    contrastive = view_loss(features) if config.inmodal_views else clip_loss(image_BD, text_BD, logit_scale)
    weights = (config.lambda_in_modal, config.lambda_cross_modal)
    if weights[0] == weights[1] and _is_wide(image_BD):
        u, v = _traces(image_BD, text_BD, only_u=True)
        in_modal, cross_modal = _from_traces(u.detach(), v, image_BD)
        cyclic = weights[0] * u / _num_rows(image_BD)
    else:
        in_modal, cross_modal = cyclic_losses(image_BD, text_BD)
        cyclic = weights[0] * in_modal + weights[1] * cross_modal
    unit = cyclic_unit(_num_rows(image_BD), image_BD.shape[1])
    scale = 1.0 if config.cyclic_scale == "paper" else PAPER_CYCLIC_UNIT / unit
    return {
        "loss": contrastive + scale * cyclic,
        "contrastive": contrastive,
        "in_modal": in_modal,
        "cross_modal": cross_modal,
    }


def cyclic_unit(batch: int, width: int) -> float:
    """2B/D: what each cyclic term is worth for independent unit rows."""
    return 2 * batch / width


def _num_rows(rows: Tensor) -> int:
    return len(rows) * across.world_size()


def _is_wide(rows: Tensor) -> bool:
    return _num_rows(rows) > rows.shape[1]
