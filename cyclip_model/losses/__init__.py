"""The training objectives by name. A new one is a file beside this and a row in OBJECTIVES."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from cyclip_model.losses.clip import ClipConfig, Features, clip_loss, clip_parts
from cyclip_model.losses.cyclip import CyclipConfig, cyclic_losses, cyclic_unit, cyclip_parts

__all__ = ["OBJECTIVES", "Features", "Objective", "clip_loss", "cyclic_losses", "cyclic_unit", "objective"]


class Objective(NamedTuple):
    """One objective: the dataclass of params section losses.NAME, and its scalars."""

    config: type[Any]
    parts: Callable[[Features, Any], dict[str, Tensor]]
    """(features, config) -> scalars by name, `loss` among them: the one that is minimised."""


OBJECTIVES: dict[str, Objective] = {
    "clip": Objective(ClipConfig, clip_parts),
    "cyclip": Objective(CyclipConfig, cyclip_parts),
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
