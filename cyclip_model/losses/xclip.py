"""xCLIP: CLIP and nCLIP on one pair of towers (arXiv 2210.09304, section 3); a reconstruction, as nCLIP's.

    L_xCLIP = w_c L_CLIP + w_n L_nCLIP

The paper's weights are unknown: a third party's note names 0.3 and 0.7, and 1 : 1 is the plain choice.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from cyclip_model.losses.clip import Features, clip_loss
from cyclip_model.losses.nclip import NclipConfig, nclip_parts


@dataclass(frozen=True, kw_only=True, slots=True)
class XclipConfig:
    """Section losses.xclip."""

    weight_contrastive: float
    """w_c, >= 0."""
    weight_non_contrastive: float
    """w_n, >= 0."""
    nclip: NclipConfig

    def __post_init__(self) -> None:
        for key in ("weight_contrastive", "weight_non_contrastive"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ValueError(f"{key} must be a number >= 0, not {getattr(self, key)}")


def xclip_parts(features: Features, config: XclipConfig) -> dict[str, Tensor]:
    """The objective's scalars by name: nCLIP's own, its loss as `non_contrastive`, and CLIP's as `contrastive`."""
    parts = nclip_parts(features, config.nclip)
    non_contrastive = parts.pop("loss")
    contrastive = clip_loss(*features[:3])
    loss = config.weight_contrastive * contrastive + config.weight_non_contrastive * non_contrastive
    return {"loss": loss, "contrastive": contrastive, "non_contrastive": non_contrastive, **parts}
