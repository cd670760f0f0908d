"""One row of a record, found without reading the record: by its number or, where rows are sorted, by its uid."""

import bisect
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage.cursors import open_record

Row = dict[str, Any]
_MOST_OPEN = 64


def by_number(path: Path, number: int, columns: list[str]) -> Row:
    """Returns one row of a parquet file.

    Raises:
        ValueError: if the file is damaged, lacks a column or has no such row, naming it.
    """
    return by_numbers(path, [number], columns)[0]


def by_numbers(path: Path, numbers: Sequence[int], columns: list[str]) -> list[Row]:
    """Returns rows of a parquet file in the order asked for; each row group is read once."""
    reader = _opened(path, columns)
    starts = [0]
    for group in range(reader.num_row_groups):
        starts.append(starts[-1] + reader.metadata.row_group(group).num_rows)
    wanted: dict[int, list[int]] = {}
    for number in numbers:
        if not 0 <= number < starts[-1]:
            raise ValueError(f"{path}: row {number} is not there; `dvc repro` mends it")
        wanted.setdefault(bisect.bisect_right(starts, number) - 1, []).append(number)
    found: dict[int, Row] = {}
    for group, inside in wanted.items():
        table = reader.read_row_group(group, columns).select(columns)
        picked = table.take([number - starts[group] for number in inside]).to_pylist()
        found.update(zip(inside, picked, strict=True))
    return [found[number] for number in numbers]


def by_uid(paths: Sequence[Path], uid: str, columns: list[str]) -> Row | None:
    """Returns the row of a uid in a record, or None; its files, and the rows in each, are in order of uid.

    Raises:
        ValueError: if a file that is looked into is damaged or lacks a column, naming it.
    """
    readers: dict[int, pq.ParquetFile] = {}

    def first(number: int) -> str:
        readers[number] = readers.get(number) or _opened(paths[number], ["uid", *columns])
        return _least(readers[number], 0) if readers[number].metadata.num_rows else ""

    place = bisect.bisect_right(range(len(paths)), uid, key=first) - 1
    if place < 0:
        return None
    first(place)
    reader = readers[place]
    if not reader.metadata.num_rows:
        return None
    group = bisect.bisect_right(range(reader.num_row_groups), uid, key=lambda group: _least(reader, group)) - 1
    if group < 0:
        return None
    names = ["uid", *(name for name in columns if name != "uid")]
    table = reader.read_row_group(group, names)
    row = pc.index(table["uid"], uid).as_py()
    return None if row < 0 else {name: table[name][row].as_py() for name in columns}


def _opened(path: Path, columns: list[str]) -> pq.ParquetFile:
    """Returns a parquet file, opened; of files asked again and again the footer is read once."""
    known = path.stat()
    return _remembered(path, known.st_mtime_ns, known.st_size, tuple(columns))


@functools.lru_cache(_MOST_OPEN)
def _remembered(path: Path, _mtime_ns: int, _size: int, columns: tuple[str, ...]) -> pq.ParquetFile:
    return open_record(path, list(columns))


def _least(reader: pq.ParquetFile, group: int) -> str:
    column = reader.schema_arrow.get_field_index("uid")
    statistics = reader.metadata.row_group(group).column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return str(reader.read_row_group(group, ["uid"])["uid"][0].as_py())
    return str(statistics.min)
