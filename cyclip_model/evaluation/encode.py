"""Features of pictures and texts, exactly as any open_clip user would compute them."""

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cyclip_model.metrics.zeroshot import Floats, normalise
from cyclip_model.model import backbone
from cyclip_model.model.heads import Saved

if TYPE_CHECKING:
    from cyclip_model.model.towers import Loaded

T = TypeVar("T")


class Pictures(NamedTuple):
    """What the image tower makes of N pictures."""

    features: Floats
    """(N, D) float32, its output, not normalised."""
    backbone: Floats
    """(N, H) float32, what it has before the projection (model.backbone)."""


def images(loaded: "Loaded", pictures: Iterable[bytes], batch_size: int) -> Pictures:
    """Features of the image tower, in the order given, computed where the model lies.

    Args:
        loaded: towers with their own transform.
        pictures: encoded pictures, at least one, bounded in pixels and known to decode; read a batch at a time.
        batch_size: rows of a forward pass; fixed by the caller, because kernels for another shape may round otherwise.
    """
    device = loaded.model.logit_scale.device
    with torch.inference_mode():
        made = [
            [
                each.float().cpu().numpy()
                for each in backbone.both(loaded.model.visual, _stack(loaded, batch).to(device))
            ]
            for batch in batches(pictures, batch_size)
        ]
    return Pictures(*(np.concatenate(each) for each in zip(*made, strict=True)))


def texts(loaded: "Loaded", lines: Sequence[str], batch_size: int) -> Floats:
    """(N, D) float32 features of the text tower, not normalised, in the order given; as `images` otherwise."""
    device = loaded.model.logit_scale.device
    with torch.inference_mode():
        made = [loaded.model.encode_text(loaded.tokenizer(batch).to(device)) for batch in batches(lines, batch_size)]
        features: Floats = torch.cat(made).float().cpu().numpy()
    return features


def compared(saved: Saved | None, features: Floats, modality: Literal["image", "text"]) -> Floats:
    """Unit rows that pictures and texts are compared by, float32: (N, D) features, or (N, K) cluster probabilities.

    Args:
        saved: the model's heads; the features count where it has none, or does not compare by them.
    """
    if saved is None or not saved.compares:
        return normalise(features)
    return normalise(shares(saved, features, modality))


def shares(saved: Saved, features: Floats, modality: Literal["image", "text"]) -> Floats:
    """(N, K) float32 cluster probabilities of (N, D) features."""
    with torch.inference_mode():
        found: Floats = saved.shares(torch.from_numpy(features), modality).numpy()
    return found


def cluster_logits(saved: Saved, features: Floats, modality: Literal["image", "text"]) -> Floats:
    """(N, K) float32 outputs of a head for (N, D) features, before the softmax."""
    with torch.inference_mode():
        found: Floats = saved.logits(torch.from_numpy(features), modality).numpy()
    return found


def _stack(loaded: "Loaded", pictures: Sequence[bytes]) -> Tensor:
    return torch.stack([loaded.preprocess(Image.open(io.BytesIO(picture))) for picture in pictures])


def batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """The rows in lists of `size`, the last one maybe shorter."""
    left = iter(rows)
    while batch := list(itertools.islice(left, size)):
        yield batch
