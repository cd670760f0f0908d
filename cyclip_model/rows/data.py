"""Packed shards to rows, and the order in which training draws them.

A row is a decoded picture and a tokenised caption, 3 S^2 + 8 L bytes, 7 kB at S = 48. Rows lie in memory (Rows) or are
made of the shards whenever they are drawn (Packed); decoded_rows.py keeps them on a disk.

Shapes: N rows, R rows of a batch, C = 3 channels, S pixels, L tokens.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from cyclip_model.model.towers import Loaded, Preprocess
from cyclip_model.rows import shards as packed_shards
from lineage import files
from lineage.digests import sha256_file

_AT_ONCE = 64
"""Rows decoded at a time where all are."""

_SHARD = {"snapshot": str, "split": str, "shard": str, "rows": int, "sha256": str}
"""What is read of a shard in root.json."""

Numbers = np.ndarray[Any, np.dtype[np.int64]]


class Pair(NamedTuple):
    """One picture, encoded, with its caption."""

    snapshot: str
    uid: str
    picture: bytes
    caption: str
    place: str
    """Where it lies, for errors: file and key."""


class Batch(NamedTuple):
    """Some rows, ready for the towers but for augmentation and normalisation."""

    images_RCSS: Tensor
    """uint8, RGB, after the geometry of open_clip's evaluation transform."""
    tokens_RL: Tensor
    """int64."""


class Source(Protocol):
    """N rows that give batches in an order."""

    @property
    def snapshot(self) -> list[str]:
        """Per row: the revision of the URL list it came with."""

    @property
    def uid(self) -> list[str]:
        """Per row: its key within that snapshot."""

    def __len__(self) -> int: ...

    def stream(self, order: Iterable[Numbers]) -> Iterator[Batch]:
        """The batches of these rows, one after the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """N pairs in memory."""

    snapshot: list[str]
    uid: list[str]
    images: Tensor
    """uint8 (N, 3, S, S), as a batch's."""
    tokens: Tensor
    """int64 (N, L)."""

    def __len__(self) -> int:
        return len(self.uid)

    def take(self, numbers: Numbers) -> Batch:
        """The batch of these rows."""
        return Batch(self.images[numbers], self.tokens[numbers])

    def stream(self, order: Iterable[Numbers]) -> Iterator[Batch]:
        """The batches of these rows, one after the other."""
        return map(self.take, order)


class Packed:
    """N pairs where they lie: read by their offsets, decoded and tokenised whenever they are drawn."""

    def __init__(self, snapshot: list[str], index: packed_shards.Index, towers: Loaded) -> None:
        self.snapshot, self.uid = snapshot, index.keys
        self._index, self._preprocess, self._tokenizer = index, towers.preprocess, towers.tokenizer
        self.side, self.num_tokens = _side(towers), int(towers.model.context_length)

    def __len__(self) -> int:
        return len(self.uid)

    def take(self, numbers: Numbers) -> Batch:
        """The batch of these rows.

        Raises:
            ValueError: a picture or a caption does not decode; names shard and key.
        """
        images = torch.empty((len(numbers), 3, *self.side), dtype=torch.uint8)
        captions = []
        for row, number in enumerate(numbers):
            picture, caption = self._index.read(number)
            images[row] = _pixels(picture, self._preprocess, self._index.place(number))
            captions.append(caption)
        return Batch(images, self._tokenizer(captions))


def verified(root_json: Path, shards_dir: Path) -> list[dict[str, Any]]:
    """The shard list of root.json, sorted, once every file in it has its recorded sha256.

    Raises:
        FileNotFoundError: a listed shard is missing.
        ValueError: a listed shard has other bytes, or root.json is not what the dataset stage writes.
    """
    if root_json.is_dir() or shards_dir.is_file():
        raise ValueError(f"{root_json}, {shards_dir}: root.json comes first, the folder of its shards second")
    content = files.read_json(root_json)
    if not isinstance(content, dict) or not isinstance(content.get("shards"), list):
        raise ValueError(f"{root_json}: lists no shards; `dvc repro dataset` makes it anew")
    listed = content["shards"]
    for number, shard in enumerate(listed):
        if not _is_shard(shard):
            keys = ", ".join(_SHARD)
            raise ValueError(f"{root_json}: shards[{number}] lacks one of {keys}; `dvc repro dataset` makes it anew")
        path = shard_path(shards_dir, shard)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing, but {root_json} lists it: run `dvc repro`")
        if sha256_file(path) != shard["sha256"]:
            raise ValueError(f"{path} is not the shard that {root_json} lists: its sha256 differs; run `dvc repro`")
    return sorted(listed, key=lambda shard: (shard["snapshot"], shard["shard"]))


def _is_shard(shard: Any) -> bool:
    return isinstance(shard, dict) and all(isinstance(shard.get(key), kind) for key, kind in _SHARD.items())


def shard_path(shards_dir: Path, shard: dict[str, Any]) -> Path:
    """Where a shard of root.json lies."""
    return shards_dir / str(shard["snapshot"]) / str(shard["shard"])


def packed(shards_dir: Path, shards: list[dict[str, Any]], split: str, towers: Loaded) -> Packed:
    """The rows of one split in the order of the shards, each to be decoded and tokenised when it is drawn.

    Raises:
        ValueError: a pair lacks a member, or a shard has not as many pairs as listed; names shard and key.
    """
    wanted = [shard for shard in shards if shard["split"] == split]
    paths = [shard_path(shards_dir, shard) for shard in wanted]
    index = packed_shards.index(paths, [shard["rows"] for shard in wanted])
    return Packed([shard["snapshot"] for shard in wanted for _ in range(shard["rows"])], index, towers)


def read(shards_dir: Path, shards: list[dict[str, Any]], split: str, towers: Loaded) -> Rows:
    """The rows of one split in the order of the shards, decoded and tokenised as towers want them.

    Raises:
        ValueError: as packed, or a picture does not decode; names shard and key.
    """
    rows = packed(shards_dir, shards, split, towers)
    return in_memory(rows, map(rows.take, in_order(len(rows))))


def in_order(num_rows: int) -> Iterator[Numbers]:
    """The numbers of all rows, some at a time."""
    for start in range(0, num_rows, _AT_ONCE):
        yield np.arange(start, min(start + _AT_ONCE, num_rows))


def in_memory(rows: Packed, batches: Iterable[Batch]) -> Rows:
    """All rows, of the batches they make in order."""
    images = torch.empty((len(rows), 3, *rows.side), dtype=torch.uint8)
    tokens = torch.empty((len(rows), rows.num_tokens), dtype=torch.int64)
    start = 0
    for batch in batches:
        end = start + len(batch.images_RCSS)
        images[start:end], tokens[start:end] = batch
        start = end
    return Rows(snapshot=rows.snapshot, uid=rows.uid, images=images, tokens=tokens)


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
    return Rows(
        snapshot=[snapshot for snapshot, _ in keys],
        uid=[uid for _, uid in keys],
        images=torch.stack(images) if images else torch.empty((0, 3, *_side(towers)), dtype=torch.uint8),
        tokens=towers.tokenizer(captions),
    )


def _side(towers: Loaded) -> tuple[int, int]:
    size = towers.model.visual.image_size
    return (size, size) if isinstance(size, int) else tuple(size)


def _pixels(picture: bytes, preprocess: Preprocess, place: str) -> Tensor:
    """uint8 (3, S, S): what preprocess does to a picture before it scales and normalises."""
    from PIL import Image, UnidentifiedImageError

    geometry = preprocess.transforms[:-2]  # type: ignore[attr-defined]  # a torchvision Compose ending in ToTensor, Normalize
    try:
        image = Image.open(io.BytesIO(picture))
        for transform in geometry:
            image = transform(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow's own words for it show a buffer by its address, which says nothing and is another one every time.
        why = "of no known format" if isinstance(error, UnidentifiedImageError) else error
        raise ValueError(
            f"{place}: the picture does not decode ({why}): the shard holds what screening should drop"
        ) from error
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def batches(num_rows: int, batch_size: int, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Row numbers (num_batches, batch_size) of one epoch, int64: a pure function of its arguments.

    Each row comes at most once; the remainder that fills no batch is left out.
    """
    order = np.random.default_rng([seed, epoch]).permutation(num_rows)
    num_batches = num_rows // batch_size
    return order[: num_batches * batch_size].reshape(num_batches, batch_size)
