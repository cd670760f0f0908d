"""Packed shards to rows in memory, and the order in which training draws them.

A picture is decoded and a caption tokenised once; the rows then lie in memory as bytes and token numbers:
3 S^2 + 8 L bytes a row, 7 kB at S = 48.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cyclip_model.towers import Loaded, Preprocess
from lineage import files
from lineage.digests import sha256_file

PICTURES = ("png", "jpg", "webp", "gif")


class Pair(NamedTuple):
    """One picture, encoded, with its caption."""

    snapshot: str
    uid: str
    picture: bytes
    caption: str
    place: str
    """Where it lies, for errors: file and key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """N pairs, ready for the towers."""

    snapshot: list[str]
    """Per row: the revision of the URL list it came with."""
    uid: list[str]
    """Per row: its key within that snapshot."""
    images: Tensor
    """uint8 (N, 3, S, S), RGB, after the geometry of open_clip's evaluation transform."""
    tokens: Tensor
    """int64 (N, L)."""

    def __len__(self) -> int:
        return len(self.uid)


def verified(root_json: Path, shards_dir: Path) -> list[dict[str, Any]]:
    """The shard list of root.json, sorted, once every file in it has its recorded sha256.

    Raises:
        FileNotFoundError: a listed shard is missing.
        ValueError: a listed shard has other bytes, or root.json is not what the dataset stage writes.
    """
    content = files.read_json(root_json)
    if not isinstance(content, dict) or not isinstance(content.get("shards"), list):
        raise ValueError(f"{root_json}: lists no shards; `dvc repro dataset` makes it anew")
    listed = content["shards"]
    for shard in listed:
        path = shard_path(shards_dir, shard)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing, but {root_json} lists it: run `dvc repro`")
        if sha256_file(path) != shard["sha256"]:
            raise ValueError(f"{path} is not the shard that {root_json} lists: its sha256 differs; run `dvc repro`")
    return sorted(listed, key=lambda shard: (shard["snapshot"], shard["shard"]))


def shard_path(shards_dir: Path, shard: dict[str, Any]) -> Path:
    """Where a shard of root.json lies."""
    return shards_dir / str(shard["snapshot"]) / str(shard["shard"])


def read(shards_dir: Path, shards: list[dict[str, Any]], split: str, towers: Loaded) -> Rows:
    """The rows of one split in the order of the shards, decoded and tokenised as towers want them.

    Raises:
        ValueError: a picture does not decode, or a shard has not as many rows as listed; names shard and key.
    """
    wanted = [shard for shard in shards if shard["split"] == split]
    return decoded((pair for shard in wanted for pair in _pairs(shards_dir, shard)), towers)


def decoded(pairs: Iterable[Pair], towers: Loaded) -> Rows:
    """Pairs in the order given, decoded and tokenised as towers want them.

    Raises:
        ValueError: a picture does not decode; names its place.
    """
    images: list[Tensor] = []
    captions: list[str] = []
    keys: list[tuple[str, str]] = []
    for pair in pairs:
        images.append(_pixels(pair.picture, towers.preprocess, pair.place))
        captions.append(pair.caption)
        keys.append((pair.snapshot, pair.uid))
    size = towers.model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    return Rows(
        snapshot=[snapshot for snapshot, _ in keys],
        uid=[uid for _, uid in keys],
        images=torch.stack(images) if images else torch.empty((0, 3, height, width), dtype=torch.uint8),
        tokens=towers.tokenizer(captions),
    )


def _pairs(shards_dir: Path, shard: dict[str, Any]) -> Iterator[Pair]:
    path = shard_path(shards_dir, shard)
    for uid, picture, caption in _samples(path, shard["rows"]):
        yield Pair(shard["snapshot"], uid, picture, caption, f"{path}, key {uid}")


def _samples(path: Path, rows: int) -> Iterator[tuple[str, bytes, str]]:
    """(uid, picture bytes, caption) of each pair in a shard, in its order."""
    # Of webdataset its grouping only: its own opener leaves the file open until the collector comes.
    from webdataset.tariterators import group_by_keys, tar_file_expander

    num_read = 0
    with path.open("rb") as stream:
        for sample in group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}])):
            picture = next((sample[suffix] for suffix in PICTURES if suffix in sample), None)
            if picture is None or "txt" not in sample:
                raise ValueError(f"{path}, key {sample['__key__']}: a pair needs .txt and one of {', '.join(PICTURES)}")
            num_read += 1
            yield sample["__key__"], picture, sample["txt"].decode("utf-8")
    if num_read != rows:
        raise ValueError(f"{path} holds {num_read} pairs where root.json lists {rows}")


def _pixels(picture: bytes, preprocess: Preprocess, place: str) -> Tensor:
    """uint8 (3, S, S): what preprocess does to a picture before it scales and normalises."""
    from PIL import Image

    geometry = preprocess.transforms[:-2]  # type: ignore[attr-defined]  # a torchvision Compose ending in ToTensor, Normalize
    try:
        image = Image.open(io.BytesIO(picture))
        for transform in geometry:
            image = transform(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{place}: the picture does not decode ({error}): the shard holds what screening should drop"
        ) from error
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def batches(num_rows: int, batch_size: int, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Row numbers (num_batches, batch_size) of one epoch, int64: a pure function of its arguments.

    Each row comes at most once; the remainder that fills no batch is left out.
    """
    order = np.random.default_rng([seed, epoch]).permutation(num_rows)
    num_batches = num_rows // batch_size
    return order[: num_batches * batch_size].reshape(num_batches, batch_size)
