"""The training objectives by name. A new one is a file beside this and a row in OBJECTIVES."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from cyclip_model.losses.clip import ClipConfig, Features, clip_loss, clip_parts
from cyclip_model.losses.cyclip import CyclipConfig, cyclic_losses, cyclic_unit, cyclip_parts
from cyclip_model.losses.nclip import HeadConfig, NclipConfig, nclip_loss, nclip_parts
from cyclip_model.losses.protoclip import ProtoclipConfig, protoclip_parts
from cyclip_model.losses.siglip import SiglipConfig, siglip_loss, siglip_parts
from cyclip_model.losses.xclip import XclipConfig, xclip_parts

__all__ = [
    "OBJECTIVES",
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
    head: Callable[[Any], HeadConfig] | None = None
    """config -> its cluster heads' section; None for an objective without."""
    init_logit_bias: float | None = None
    """Where towers with a logit bias begin; None for towers without."""


OBJECTIVES: dict[str, Objective] = {
    "clip": Objective(ClipConfig, clip_parts),
    "cyclip": Objective(CyclipConfig, cyclip_parts),
    "nclip": Objective(NclipConfig, nclip_parts, head=lambda config: config.head),
    "xclip": Objective(XclipConfig, xclip_parts, head=lambda config: config.nclip.head),
    "siglip": Objective(SiglipConfig, siglip_parts, init_logit_bias=-10.0),
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
