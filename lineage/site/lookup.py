"""From the digest of a link or a picture to the pairs that have it: put aside by prefix, sorted one part at a time."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from lineage.site.shelf import Shelf

KEY_DIGITS = 16
"""Hex digits of a digest that an entry is found by; the browser compares all of them on the row itself."""
MAX_UIDS = 50
"""Shown of the pairs under one key; how many there are stands beside them."""
_ROWS_PER_PART = 1 << 18
_MAX_PARTS = 256
_KEY: np.dtype[Any] = np.dtype([("key", f"S{KEY_DIGITS}"), ("reason", "u1"), ("uid", "S32")])


class Parts:
    """Append-only files, a key in each by its first four hex digits, so that one after the other they are in order."""

    def __init__(self, folder: Path, name: str, num_rows: int) -> None:
        self.number = min(max(-(-num_rows // _ROWS_PER_PART), 1), _MAX_PARTS)
        self._paths = [folder / f"{name}.{number:03d}" for number in range(self.number)]
        self._files: list[BinaryIO] = []

    def __enter__(self) -> Self:
        self._files = [path.open("wb") for path in self._paths]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def of(self, head: int) -> int:
        """Returns the part of a key, given its first 16 bits."""
        return (head * self.number) >> 16

    def append(self, part: int, content: bytes) -> None:
        """Adds to a part."""
        self._files[part].write(content)

    def drain(self) -> Iterator[Path]:
        """Yields the parts in order and removes each afterwards; nothing can be added any more."""
        for file in self._files:
            file.close()
        for path in self._paths:
            yield path
            path.unlink()


class Lookup:
    """Collects (digest, uid, reason) and shelves [key, number of pairs, [uid, reason, …]] for each key."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add(self, digests: list[str | None], uids: list[str], reasons: list[int]) -> None:
        """Adds some pairs; those without a digest are left out."""
        rows = [
            (key[:KEY_DIGITS], reason, uid)
            for key, reason, uid in zip(digests, reasons, uids, strict=True)
            if key is not None
        ]
        table = np.array(rows, _KEY)
        heads = np.array([int(row[0][:4], 16) for row in rows], np.int64)
        part_n = (heads * self._parts.number) >> 16
        for part in np.unique(part_n).tolist():
            self._parts.append(part, table[part_n == part].tobytes())

    def shelve(self, shelf: Shelf) -> None:
        """Writes what was collected, in order."""
        for path in self._parts.drain():
            for key, found in groupby(_entries(np.fromfile(path, _KEY)), key=lambda entry: entry[0]):
                pairs = list(found)
                shown = [value for _, reason, uid in pairs[:MAX_UIDS] for value in (uid.decode(), reason)]
                shelf.add(key.decode(), [key.decode(), len(pairs), shown])


def _entries(table: npt.NDArray[Any]) -> list[Any]:
    """Returns (key, reason, uid), each (key, uid) once with the least reason: kept, if it is so in any snapshot."""
    ordered = np.sort(table, order=["key", "uid", "reason"])
    pairs = ordered[["key", "uid"]]
    first = np.ones(len(ordered), bool)
    first[1:] = pairs[1:] != pairs[:-1]
    entries: list[Any] = np.sort(ordered[first], order=["key", "reason", "uid"]).tolist()
    return entries
