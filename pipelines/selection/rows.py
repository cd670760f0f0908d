"""The rows of one part of a snapshot as columns, read when first asked for: what rules look at.

Letters in names: N rows of the part, D width of the vectors.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage import records
from pipelines.likeness import looks
from pipelines.selection import digits

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float16]

_MEASURES = {field.name for field in records.SIGNALS if pa.types.is_floating(field.type) or field.type == pa.int64()}
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where rules find what is not in the signals."""

    optouts: Path
    scores: Path
    concepts: Path
    benchmarks: Path
    test_embeddings: Path
    sets: tuple[str, ...]
    """Evaluation sets to keep out of the data."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part of a snapshot: a file of signals and, in `embeddings`, the triple of the same name."""

    signals: Path
    embeddings: Path

    @property
    def name(self) -> str:
        """The number that signals and embeddings share."""
        return self.signals.stem


class Rows:
    """The rows of one part, in the order of its signals."""

    def __init__(self, part: Part, sources: Sources) -> None:
        self.part = part
        self.sources = sources
        self._columns: dict[str, pa.Array] = {}

    def __len__(self) -> int:
        return len(self.text("uid"))

    def text(self, name: str) -> pa.Array:
        """Returns a column of the signals as it is."""
        if name not in self._columns:
            table = records.read_table(self.part.signals, records.SIGNALS, columns=[name])
            self._columns[name] = table[name].combine_chunks()
        return self._columns[name]

    def number(self, name: str) -> Floats:
        """Returns a column of the signals as (N,) float64, NaN where it is null."""
        return _floats(self.text(name))

    def measured(self) -> Bools:
        """Returns (N,) which rows measure passed."""
        return _bools(pc.is_null(self.text("error")))

    def hashes(self) -> tuple[digits.Words, Bools]:
        """Returns the perceptual hashes, (N,) uint64, and which rows have one."""
        return digits.words(self.text("phash"), 1)[:, 0], _bools(pc.is_valid(self.text("phash")))

    def thumbnails(self) -> tuple[pa.Array, Bools]:
        """Returns the thumbnails, N values of 192 bytes, zeros where there is none, and which rows have one."""
        column = self.text("thumbnail")
        filled = pc.fill_null(column, bytes(looks.NUM_BYTES))
        try:
            return filled.cast(pa.binary(looks.NUM_BYTES)), _bools(pc.is_valid(column))
        except pa.ArrowInvalid:
            raise ValueError(
                f"{self.part.signals}: a thumbnail has not {looks.NUM_BYTES} bytes; measure again"
            ) from None

    def score(self, name: str) -> Floats:
        """Returns a score by its name, (N,) float64, NaN where a row has none.

        `clip_score` is the scorer's; a number of the signals goes by its column's name; any other is the user's own
        from the score table or, where that has none, the one the list gave.
        """
        if name == "clip_score":
            return _floats(self._embedding("clip_score"))
        if name in _MEASURES:
            return self.number(name)
        own, given = self._own_score(name), self._given_score(name)
        return np.where(np.isnan(own), given, own)

    def vectors(self) -> tuple[Vectors, Ints]:
        """Returns the pictures' vectors, (n, D) float16 of the n rows that have one, and those rows' places, (n,)."""
        path = self.part.embeddings / f"{self.part.name}.image.npy"
        vectors_nD: Vectors = np.load(path, mmap_mode="r")
        row_N = _floats(self._embedding("row"))
        places = np.flatnonzero(~np.isnan(row_N))
        rows = row_N[places].astype(np.int64)
        if len(rows) and rows.max() >= len(vectors_nD):
            raise ValueError(
                f"{path}: has {len(vectors_nD)} vectors, its table names row {rows.max()}; run embed again"
            )
        return vectors_nD[rows], places

    def _embedding(self, name: str) -> pa.Array:
        path = self.part.embeddings / f"{self.part.name}.parquet"
        table = records.read_table(path, records.EMBEDDINGS, columns=["uid", name])
        place_N = pc.index_in(self.text("uid"), value_set=table["uid"].combine_chunks())
        if (self.measured() & _bools(pc.is_null(place_N))).any():
            raise ValueError(f"{path}: lacks pairs that measure passed; `dvc repro` brings it up to date")
        return table[name].combine_chunks().take(place_N)

    def _own_score(self, name: str) -> Floats:
        uids = self.text("uid")
        bounds = pc.min_max(uids).as_py()
        if bounds["min"] is None:
            return np.empty(0)
        wanted = [("name", "==", name), ("uid", ">=", bounds["min"]), ("uid", "<=", bounds["max"])]
        table = pq.read_table(self.sources.scores, filters=wanted, partitioning=None)
        place_N = pc.index_in(uids, value_set=table["uid"].combine_chunks())
        return _floats(table["value"].combine_chunks().take(place_N))

    def _given_score(self, name: str) -> Floats:
        # the list's scores are canonical JSON {name: number}: no other text stands between a key and its number
        key = re.escape(json.dumps(name, ensure_ascii=False))
        found = pc.extract_regex(self.text("given"), rf"(?:^\{{|,)\s*{key}\s*:\s*(?P<value>{_NUMBER})")
        return _floats(pc.struct_field(found, "value").cast(pa.float64()))


def fixed_bytes(column: pa.Array) -> npt.NDArray[np.uint8]:
    """Returns values of B bytes each as (N, B) uint8, without a copy."""
    width = column.type.byte_width
    octets = column.buffers()[1] or b""
    flat = np.frombuffer(octets, np.uint8, count=len(column) * width, offset=width * column.offset)
    return flat.reshape(len(column), width)


def remembered(load: Callable[[Path], T], path: Path) -> T:
    """Returns `load(path)`, from memory while the file stays as it is."""
    try:
        state = path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; `dvc repro` makes what comes before this stage") from None
    found: T = _loaded(load, path, state.st_mtime_ns, state.st_size)
    return found


@functools.lru_cache(maxsize=8)
def _loaded(load: Callable[[Path], Any], path: Path, _changed_ns: int, _size: int) -> Any:
    return load(path)


def _floats(column: pa.Array) -> Floats:
    found: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _bools(column: pa.Array) -> Bools:
    found: Bools = column.to_numpy(zero_copy_only=False)
    return found
