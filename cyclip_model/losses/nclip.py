"""nCLIP: non-contrastive alignment of cluster assignments (arXiv 2210.09304, section 3); a reconstruction.

The paper's code and weights were never released. With cluster logits a_i (picture) and b_i (caption) of pair i from
each tower's head, p_i = softmax(a_i / tau), q_i = softmax(b_i / tau), their means p_, q_ over the whole batch of all
ranks, and H the Shannon entropy:

    alignment   A  = 1/2B sum_i [ CE(q_i, p_i) + CE(p_i, q_i) ]     each is the other's pseudo-label
    sharpness   EH = 1/2B sum_i [ H(p_i) + H(q_i) ]                 minimised
    smoothness  HE = 1/2 [ H(p_) + H(q_) ]                          maximised
    L_nCLIP = A + lambda_EH EH - lambda_HE HE

A = EH + 1/2 mean [ KL(p|q) + KL(q|p) ], so without HE all rows in one cluster is optimal: HE is the only force against
collapse, and its mean carries gradient across ranks. Of the paper the weights, tau, the heads and whether pseudo-labels
are detached are unknown: parameters here.

Shapes: B batch, K clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cyclip_model.losses import across
from cyclip_model.losses.clip import Features, at_least_float32

_ACTIVE_SHARE = 0.1
"""A cluster counts as active if the batch gives it a tenth of an even share, or more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadConfig:
    """Section head of losses.nclip and losses.xclip: from a tower's embedding to cluster logits."""

    num_clusters: int
    """K, at least 2."""
    hidden_dim: int
    """Width after the first layer."""
    bottleneck_dim: int
    """Width before the weight-normalised last layer; 0 for none: the first layer leads to the last one."""

    def __post_init__(self) -> None:
        if self.num_clusters < 2 or self.hidden_dim < 1 or self.bottleneck_dim < 0:
            raise ValueError("num_clusters is at least 2, hidden_dim at least 1, bottleneck_dim not negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class NclipConfig:
    """Section losses.nclip."""

    lambda_sharpness: float
    """lambda_EH, >= 0."""
    lambda_smoothness: float
    """lambda_HE, >= 0; at 0 training collapses."""
    temperature: float
    """tau, above 0."""
    stop_gradient: bool
    """Whether a pseudo-label passes no gradient to the tower it comes from."""
    head: HeadConfig

    def __post_init__(self) -> None:
        for key in ("lambda_sharpness", "lambda_smoothness"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ValueError(f"{key} must be a number >= 0, not {getattr(self, key)}")
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be above 0, not {self.temperature}")


class NclipLoss(NamedTuple):
    """The loss and what it is made of, scalars in nats; the counts are 0-dimensional as well."""

    loss: Tensor
    alignment: Tensor
    sharpness: Tensor
    """EH, mean entropy of a row: between 0 and log K."""
    smoothness: Tensor
    """HE, entropy of the mean row: between EH and log K."""
    active_clusters: Tensor
    """Clusters that the batch gives at least a tenth of an even share, mean of both modalities."""
    agreement: Tensor
    """Share of pairs whose two likeliest clusters are the same, 0..1."""


def nclip_loss(
    image_BK: Tensor,
    text_BK: Tensor,
    *,
    temperature: float,
    lambda_sharpness: float,
    lambda_smoothness: float,
    stop_gradient: bool = False,
) -> NclipLoss:
    """The loss of cluster logits, row i of both being one pair; arithmetic in float32 at least.

    Args:
        image_BK, text_BK: logits before the temperature.
    """
    wide = (at_least_float32(logits) for logits in (image_BK, text_BK))
    log_p_BK, log_q_BK = (torch.log_softmax(logits_BK / temperature, dim=1) for logits_BK in wide)
    p_BK, q_BK = log_p_BK.exp(), log_q_BK.exp()
    to_p_BK, to_q_BK = (q_BK.detach(), p_BK.detach()) if stop_gradient else (q_BK, p_BK)
    alignment = -((to_p_BK * log_p_BK).sum(1).mean() + (to_q_BK * log_q_BK).sum(1).mean()) / 2
    sharpness = -((p_BK * log_p_BK).sum(1).mean() + (q_BK * log_q_BK).sum(1).mean()) / 2
    mean_2K = across.averaged(torch.stack((p_BK.mean(0), q_BK.mean(0))))
    smoothness = -torch.special.xlogy(mean_2K, mean_2K).sum() / 2
    active = (mean_2K.detach() * mean_2K.shape[1] >= _ACTIVE_SHARE).sum() / 2
    agreement = (image_BK.argmax(1) == text_BK.argmax(1)).float().mean()
    loss = alignment + lambda_sharpness * sharpness - lambda_smoothness * smoothness
    return NclipLoss(loss, alignment, sharpness, smoothness, active, agreement)


def nclip_parts(features: Features, config: NclipConfig) -> dict[str, Tensor]:
    """The objective's scalars by name; HE also as a share of log K."""
    found = of_features(features, config)
    assert features.image_BK is not None
    return {**found._asdict(), "smoothness/log K": found.smoothness / math.log(features.image_BK.shape[1])}


def of_features(features: Features, config: NclipConfig) -> NclipLoss:
    """nCLIP's loss of a batch whose objective has heads.

    Raises:
        ValueError: it has none.
    """
    if features.image_BK is None or features.text_BK is None:
        raise ValueError("nCLIP's loss needs cluster logits: build the model with the objective's heads")
    return nclip_loss(
        features.image_BK,
        features.text_BK,
        temperature=config.temperature,
        lambda_sharpness=config.lambda_sharpness,
        lambda_smoothness=config.lambda_smoothness,
        stop_gradient=config.stop_gradient,
    )
