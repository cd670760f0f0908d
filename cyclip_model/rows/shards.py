"""Packed shards at random: where each picture and caption lies, by one pass over the headers, no tar ever extracted."""

from __future__ import annotations

import os
import tarfile
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PICTURES = ("png", "jpg", "webp", "gif")
PLACE = np.dtype([("shard", "i4"), ("picture", "i8"), ("picture_bytes", "i4"), ("text", "i8"), ("text_bytes", "i4")])
"""Of one pair: number of its shard, and offset and size of its two members; 28 bytes."""

Places = np.ndarray[Any, np.dtype[np.void]]


class Index(NamedTuple):
    """The pairs of some shards, in their order."""

    paths: list[Path]
    keys: list[str]
    """Per pair."""
    places: Places
    """Per pair, of dtype PLACE."""

    def read(self, number: int) -> tuple[bytes, str]:
        """(picture, caption) of one pair.

        Raises:
            ValueError: the caption is no UTF-8; names shard and key.
        """
        shard, *spans = self.places[number].tolist()
        descriptor = os.open(self.paths[shard], os.O_RDONLY)
        try:
            picture, text = (os.pread(descriptor, size, offset) for offset, size in (spans[:2], spans[2:]))
        finally:
            os.close(descriptor)
        try:
            return picture, text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self.place(number)}: the caption is no UTF-8 ({error.reason} at byte {error.start}): "
                "packing writes none such; `dvc repro` packs the shard anew"
            ) from None

    def place(self, number: int) -> str:
        """Where a pair lies, for errors: file and key."""
        return f"{self.paths[self.places[number]['shard']]}, key {self.keys[number]}"


def index(paths: list[Path], num_rows: list[int]) -> Index:
    """The index of shards of so many pairs each.

    Raises:
        ValueError: a file is no tar, a pair lacks its picture or caption, or a shard has not as many pairs as said;
            names shard and key.
    """
    keys: list[str] = []
    places: list[Places] = [np.zeros(0, PLACE)]
    for shard, (path, count) in enumerate(zip(paths, num_rows, strict=True)):
        try:
            found = _pairs(path)
        except tarfile.TarError as error:
            raise ValueError(f"{path} is no whole tar ({error}): `dvc repro` packs the shard anew") from None
        if len(found) != count:
            raise ValueError(f"{path} holds {len(found)} pairs where root.json lists {count}")
        keys += [key for key, _ in found]
        places.append(np.array([(shard, *spans) for _, spans in found], PLACE))
    return Index(paths, keys, np.concatenate(places))


def _pairs(path: Path) -> list[tuple[str, tuple[int, int, int, int]]]:
    """(key, offset and size of its picture and its caption) of each pair of a shard: members of one key in a row."""
    found = []
    with tarfile.open(path, "r:") as tar:
        named = ((*member.name.partition(".")[::2], member) for member in tar if member.isfile())
        for key, members in groupby(named, key=itemgetter(0)):
            by_suffix = {suffix.lower(): member for _, suffix, member in members}
            picture = next((by_suffix[suffix] for suffix in PICTURES if suffix in by_suffix), None)
            if picture is None or "txt" not in by_suffix:
                raise ValueError(f"{path}, key {key}: a pair needs .txt and one of {', '.join(PICTURES)}")
            text = by_suffix["txt"]
            found.append((key, (picture.offset_data, picture.size, text.offset_data, text.size)))
    return found
