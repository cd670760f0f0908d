"""ProtoCLIP: pictures and captions learn each other's clusters (arXiv 2206.10996, section 3); a small form of it.

With unit rows I and T, a_i the cluster of picture i among K of the pictures, and m_k the direction of the mean caption
of cluster k (prototypical back translation: a cluster found in one space is looked for in the other), likewise b_j and
n_k for clusters of captions:

    L = L_CLIP + w/2 mean_i [ CE( softmax(<T_i, m>/tau), a_i ) + CE( softmax(<I_i, n>/tau), b_i ) ]

Here an episode is one batch of all ranks, clusters come from its own detached rows and are hard; the paper clusters
tens of thousands of rows an episode, and softens the labels.

Shapes: R rows of this rank, B of all ranks, D embedding, K clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from cyclip_model.losses import across
from cyclip_model.losses.clip import Features, clip_loss


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtoclipConfig:
    """Section losses.protoclip."""

    num_prototypes: int
    """K, at least 2 and at most the batch."""
    num_rounds: int
    """Of k-means, at least 1."""
    temperature: float
    """tau, above 0."""
    weight: float
    """w of the prototypes' part, >= 0."""

    def __post_init__(self) -> None:
        if self.num_prototypes < 2 or self.num_rounds < 1:
            raise ValueError("num_prototypes is at least 2, num_rounds at least 1")
        if not (0 < self.temperature < float("inf") and 0 <= self.weight < float("inf")):
            raise ValueError("temperature is above 0, weight not negative")


def prototype_loss(rows_RD: Tensor, others_RD: Tensor, config: ProtoclipConfig) -> Tensor:
    """Mean cross-entropy in nats of rows against the clusters of the others' modality, a scalar.

    Raises:
        ValueError: there are more clusters than pairs.
    """
    with torch.no_grad():
        all_rows_BD, all_others_BD = across.gathered(rows_RD.detach()), across.gathered(others_RD.detach())
        cluster_B = clusters(all_others_BD, config.num_prototypes, config.num_rounds)
        means_KD = normalize(_means(all_rows_BD, cluster_B, config.num_prototypes), dim=1)
        first = across.first_row(len(rows_RD))
    return cross_entropy(rows_RD @ means_KD.T / config.temperature, cluster_B[first : first + len(rows_RD)])


def clusters(rows_BD: Tensor, num_clusters: int, num_rounds: int) -> Tensor:
    """The cluster of each unit row by k-means on the sphere, (B,) int64; the first centres are rows at even distances.

    Raises:
        ValueError: there are more clusters than rows.
    """
    if num_clusters > len(rows_BD):
        raise ValueError(f"losses.protoclip.num_prototypes = {num_clusters} is more than the {len(rows_BD)} pairs")
    centre_KD = rows_BD[torch.arange(num_clusters, device=rows_BD.device) * len(rows_BD) // num_clusters]
    for _ in range(num_rounds):
        cluster_B = (rows_BD @ centre_KD.T).argmax(1)
        sums_KD = _means(rows_BD, cluster_B, num_clusters)
        is_empty_K1 = (sums_KD == 0).all(1, keepdim=True)
        centre_KD = torch.where(is_empty_K1, centre_KD, normalize(sums_KD, dim=1))
    return (rows_BD @ centre_KD.T).argmax(1)


def _means(rows_BD: Tensor, cluster_B: Tensor, num_clusters: int) -> Tensor:
    """The mean row of each cluster, (K, D); zeros for an empty one."""
    # a product, for sums by index have no fixed order on a GPU
    member_BK = torch.nn.functional.one_hot(cluster_B, num_clusters).to(rows_BD)
    return member_BK.T @ rows_BD / member_BK.sum(0).clamp(min=1)[:, None]


def protoclip_parts(features: Features, config: ProtoclipConfig) -> dict[str, Tensor]:
    """The objective's scalars by name."""
    image_BD, text_BD, logit_scale = features[:3]
    contrastive = clip_loss(image_BD, text_BD, logit_scale)
    to_texts, to_images = prototype_loss(text_BD, image_BD, config), prototype_loss(image_BD, text_BD, config)
    prototypes = (to_texts + to_images) / 2
    return {"loss": contrastive + config.weight * prototypes, "contrastive": contrastive, "prototypes": prototypes}
