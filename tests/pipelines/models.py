"""Tiny models with random weights, saved by open_clip alone: with BatchNorm whose statistics matter, or as a ViT."""

import functools
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save

TEXT: dict[str, Any] = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny-resnet": {
        "embed_dim": 16,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32},
        "text_cfg": TEXT,
    },
    "tiny-vit": {
        "embed_dim": 16,
        "vision_cfg": {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32},
        "text_cfg": TEXT,
    },
}
PREPROCESS: dict[str, Any] = {  # not open_clip's defaults: whoever ignores it gets other embeddings
    "mean": [0.5, 0.4, 0.6],
    "std": [0.3, 0.2, 0.25],
    "interpolation": "bilinear",
    "resize_mode": "squash",
}


def make_model(arch: str, seed: int = 0) -> open_clip.CLIP:
    """Returns towers that tell drawings apart; their running statistics are near those of drawings, but of no batch."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**ARCHITECTURES[arch])
        drawings = torch.nn.functional.interpolate(torch.randn(32, 3, 3, 3), 32)
        for batch in drawings.split(8) * 4:
            model.encode_image(batch)
        model.eval()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean += torch.randn(module.num_features) * module.running_var.sqrt() / 2
                module.running_var *= torch.empty(module.num_features).uniform_(0.5, 2.0)
        if hasattr(model.visual, "attnpool"):  # else what all pictures have in common would be nearly all there is
            model.visual.attnpool.c_proj.bias -= model.encode_image(drawings).mean(dim=0)
    return model


@functools.cache
def _weights(arch: str, seed: int) -> bytes:
    content: bytes = save(make_model(arch, seed).state_dict())
    return content


def make_drawing(seed: int, size: tuple[int, int] = (40, 24), kind: str = "PNG") -> bytes:
    """Returns a picture of nine coloured fields; noise would look the same to any tower."""
    fields = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(fields).resize(size, Image.Resampling.NEAREST).save(file, kind)
    return file.getvalue()


def write_model(folder: Path, arch: str = "tiny-resnet", seed: int = 0) -> Path:
    """Writes a model folder as stage scorer leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_model.safetensors").write_bytes(_weights(arch, seed))
    config = {"model_cfg": ARCHITECTURES[arch], "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    (folder / f"{arch}.json").write_text(json.dumps(ARCHITECTURES[arch]))
    return folder
