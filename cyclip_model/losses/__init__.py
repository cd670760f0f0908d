"""The training objectives by name. A new one is a file beside this and a row in OBJECTIVES."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from torch import Tensor

from cyclip_model.losses.clip import CaptionEdits, ClipConfig, Features, clip_loss, clip_parts
from cyclip_model.losses.cyclip import CyclipConfig, cyclic_losses, cyclic_unit, cyclip_parts
from cyclip_model.losses.nclip import NclipConfig, nclip_loss, nclip_parts
from cyclip_model.losses.protoclip import ProtoclipConfig, protoclip_parts
from cyclip_model.losses.siglip import SiglipConfig, siglip_loss, siglip_parts
from cyclip_model.losses.xclip import XclipConfig, xclip_parts

__all__ = [
    "OBJECTIVES",
    "CaptionEdits",
    "Features",
    "Objective",
    "clip_loss",
    "cyclic_losses",
    "cyclic_unit",
    "nclip_loss",
    "objective",
    "siglip_loss",
]


class Objective(NamedTuple):
    """One objective: the dataclass of params section losses.NAME, its scalars, and what it needs of the model."""

    config: type[Any]
    parts: Callable[[Features, Any], dict[str, Tensor]]
    """(features, config) -> scalars by name, `loss` among them: the one that is minimised."""
    nclip: Callable[[Any], NclipConfig] | None = None
    """config -> what its cluster heads are built and used by; None for an objective without."""
    compares_clusters: bool = False
    """Whether pictures and texts are compared by their clusters, because the embeddings are not aligned."""
    views: Callable[[Any], CaptionEdits | None] | None = None
    """config -> how the second views it looks at are made, None for none; None for an objective that never does."""
    is_contrastive: bool = True
    """Whether it holds CLIP's loss, by which held-out pairs then watch it; else they do by all of it."""
    model_cfg: dict[str, float] | None = None
    """What open_clip's model config needs besides: SigLIP's first scale and bias."""


def _itself(config: NclipConfig) -> NclipConfig:
    return config


OBJECTIVES: dict[str, Objective] = {
    "clip": Objective(ClipConfig, clip_parts),
    "cyclip": Objective(CyclipConfig, cyclip_parts, views=CyclipConfig.views),
    "nclip": Objective(NclipConfig, nclip_parts, nclip=_itself, compares_clusters=True, is_contrastive=False),
    "xclip": Objective(XclipConfig, xclip_parts, nclip=attrgetter("nclip")),
    "siglip": Objective(
        SiglipConfig,
        siglip_parts,
        is_contrastive=False,
        model_cfg={"init_logit_scale": math.log(10), "init_logit_bias": -10.0},
    ),
    "protoclip": Objective(ProtoclipConfig, protoclip_parts),
}


def objective(name: str) -> Objective:
    """The objective of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in OBJECTIVES:
        raise ValueError(
            f"params.yaml: objectives: there is no objective {name!r}; choose from {', '.join(OBJECTIVES)}"
        )
    return OBJECTIVES[name]
