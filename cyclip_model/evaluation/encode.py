"""Features of pictures and texts, once per (checkpoint, set), exactly as any open_clip user would compute them."""

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from PIL import Image
from torch import Tensor

from cyclip_model.metrics.zeroshot import Floats, normalise
from cyclip_model.model.heads import Saved

if TYPE_CHECKING:
    from cyclip_model.model.towers import Loaded

T = TypeVar("T")


def images(loaded: "Loaded", pictures: Sequence[bytes], batch_size: int) -> Floats:
    """(N, D) float32 features of the image tower, not normalised, in the order given.

    Args:
        loaded: towers with their own transform.
        pictures: N encoded pictures, at least one, bounded in pixels and known to decode.
        batch_size: rows of a forward pass; fixed by the caller, because kernels for another shape may round otherwise.
    """
    with torch.inference_mode():
        made = [loaded.model.encode_image(_stack(loaded, batch)) for batch in _batches(pictures, batch_size)]
        features: Floats = torch.cat(made).float().numpy()
    return features


def texts(loaded: "Loaded", lines: Sequence[str], batch_size: int) -> Floats:
    """(N, D) float32 features of the text tower, not normalised, in the order given; as `images` otherwise."""
    with torch.inference_mode():
        made = [loaded.model.encode_text(loaded.tokenizer(list(batch))) for batch in _batches(lines, batch_size)]
        features: Floats = torch.cat(made).float().numpy()
    return features


def compared(saved: Saved | None, features: Floats, modality: Literal["image", "text"]) -> Floats:
    """Unit rows that pictures and texts are compared by, float32: (N, D) features, or (N, K) cluster probabilities.

    Args:
        saved: the model's heads; the features count where it has none, or does not compare by them.
    """
    if saved is None or not saved.compares:
        return normalise(features)
    with torch.inference_mode():
        shares: Floats = saved.shares(torch.from_numpy(features), modality).numpy()
    return normalise(shares)


def _stack(loaded: "Loaded", pictures: Sequence[bytes]) -> Tensor:
    return torch.stack([loaded.preprocess(Image.open(io.BytesIO(picture))) for picture in pictures])


def _batches(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
