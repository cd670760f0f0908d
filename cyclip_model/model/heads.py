"""What stands between a tower and nCLIP's clusters: one projection head for each modality.

The paper's head is unknown. Ours: Linear, BatchNorm, GELU, Linear to a bottleneck, rows of length 1, and a last layer
whose rows have length 1 as well, so that a logit is a cosine; without a bottleneck, a plain last layer.

Shapes: B batch, D embedding, K clusters.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from cyclip_model.losses.clip import at_least_float32
from cyclip_model.losses.nclip import HeadConfig
from lineage import files

WEIGHTS = "heads.safetensors"
CONFIG = "heads.json"


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
            return at_least_float32(linear(normalize(hidden, dim=1), normalize(self.clusters.weight, dim=1)))
        return at_least_float32(self.clusters(hidden))


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


class Saved(NamedTuple):
    """The heads of a model folder."""

    heads: Heads
    """In eval mode, float32, on the CPU."""
    temperature: float
    """Of the softmax over clusters."""
    compares: bool
    """Whether pictures and texts are compared by their clusters: nCLIP aligns nothing else."""

    def shares(self, features_BD: Tensor, modality: Literal["image", "text"]) -> Tensor:
        """Cluster probabilities (B, K) of a tower's features, float32."""
        return torch.softmax(self.logits(features_BD, modality) / self.temperature, dim=1)

    def logits(self, features_BD: Tensor, modality: Literal["image", "text"]) -> Tensor:
        """Cluster logits (B, K) of a tower's features, float32, before temperature and softmax."""
        head: ClusterHead = getattr(self.heads, modality)
        logits: Tensor = head(normalize(features_BD, dim=1))
        return logits


def save(saved: Saved, folder: Path, config: HeadConfig) -> None:
    """Weights, and how they are used, under folder; equal weights are equal bytes."""
    from safetensors.torch import save as to_bytes

    state = {name: value.detach().cpu().contiguous() for name, value in saved.heads.state_dict().items()}
    files.write_bytes(folder / WEIGHTS, to_bytes(state))
    use = {"width": saved.heads.image.width, "temperature": saved.temperature, "compares": saved.compares}
    files.write_json(folder / CONFIG, {**use, **asdict(config)})


def load(folder: Path) -> Saved | None:
    """The heads in folder; None where the model has none.

    Raises:
        ValueError: the weights do not fit the config.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / CONFIG).is_file():
        return None
    config: dict[str, Any] = dict(files.read_json(folder / CONFIG))
    width, temperature, compares = (config.pop(name) for name in ("width", "temperature", "compares"))
    heads = build(width, HeadConfig(**config), seed=0)
    try:
        heads.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, OSError, SafetensorError) as error:
        raise ValueError(f"{folder / WEIGHTS} does not fit {folder / CONFIG}: {error}") from error
    return Saved(heads.eval(), temperature, compares)
