"""What stands between a tower and nCLIP's clusters: one projection head for each modality.

The paper's head is unknown. Ours: Linear, BatchNorm, GELU, Linear to a bottleneck, rows of length 1, and a last layer
whose rows have length 1 as well, so that a logit is a cosine; without a bottleneck, a plain last layer.

Shapes: B batch, D embedding, K clusters.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from cyclip_model.losses.nclip import HeadConfig


class ClusterHead(nn.Module):
    """From unit rows (B, D) to float32 cluster logits (B, K)."""

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__()
        self.width = width
        self.is_cosine = config.bottleneck_dim > 0
        self.hidden = nn.Linear(width, config.hidden_dim)
        self.norm: nn.Module = nn.BatchNorm1d(config.hidden_dim)
        self.bottleneck = nn.Linear(config.hidden_dim, config.bottleneck_dim) if self.is_cosine else nn.Identity()
        self.clusters = nn.Linear(
            config.bottleneck_dim or config.hidden_dim, config.num_clusters, bias=not self.is_cosine
        )

    def forward(self, rows_BD: Tensor) -> Tensor:
        """Cluster logits; unit rows are stretched to entries of about 1 first."""
        hidden = torch.nn.functional.gelu(self.norm(self.hidden(rows_BD * math.sqrt(self.width))))
        hidden = self.bottleneck(hidden)
        if self.is_cosine:
            return linear(normalize(hidden, dim=1), normalize(self.clusters.weight, dim=1)).float()
        return cast(Tensor, self.clusters(hidden)).float()


class Heads(nn.Module):
    """The two heads of an objective."""

    def __init__(self, width: int, config: HeadConfig) -> None:
        super().__init__()
        self.image = ClusterHead(width, config)
        self.text = ClusterHead(width, config)


def build(width: int, config: HeadConfig, seed: int) -> Heads:
    """Freshly initialised heads, a function of the arguments; the global generator is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Heads(width, config)
