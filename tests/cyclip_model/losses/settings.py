"""Every objective with small numbers, and features that it can be asked about."""

from typing import Any

import torch
from torch import Tensor

from cyclip_model.losses.clip import ClipConfig, Features
from cyclip_model.losses.cyclip import CyclipConfig
from cyclip_model.losses.nclip import HeadConfig, NclipConfig
from cyclip_model.losses.protoclip import ProtoclipConfig
from cyclip_model.losses.siglip import SiglipConfig
from cyclip_model.losses.xclip import XclipConfig

NCLIP = NclipConfig(
    lambda_sharpness=0.5,
    lambda_smoothness=1.0,
    temperature=0.1,
    stop_gradient=False,
    head=HeadConfig(num_clusters=6, hidden_dim=8, bottleneck_dim=4),
)
CONFIGS: dict[str, Any] = {
    "clip": ClipConfig(),
    "cyclip": CyclipConfig(
        lambda_in_modal=0.25,
        lambda_cross_modal=0.25,
        cyclic_scale="normalised",
        inmodal_views=False,
        token_delete_prob=0.2,
        token_swap_prob=0.2,
    ),
    "nclip": NCLIP,
    "xclip": XclipConfig(weight_contrastive=0.3, weight_non_contrastive=0.7, nclip=NCLIP),
    "siglip": SiglipConfig(),
    "protoclip": ProtoclipConfig(num_prototypes=3, num_rounds=2, temperature=0.1, weight=0.5),
}


def features_of(image_BD: Tensor, text_BD: Tensor, name: str) -> Features:
    """Features with what the objective needs; cluster logits are the first embedding columns."""
    clusters = (image_BD[:, :6], text_BD[:, :6]) if name in ("nclip", "xclip") else (None, None)
    bias = torch.tensor(-10.0).to(image_BD) if name == "siglip" else None
    return Features(image_BD, text_BD, torch.tensor(5.0).to(image_BD), bias, *clusters)
