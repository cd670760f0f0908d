"""A user's own scores of pairs: a wide table, one column a score, as rows of (uid, name, value)."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from lineage import records

_UID = r"^[0-9a-f]{32}$"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ScoreTable:
    """What a user's table holds."""

    scores: pa.Table
    """records.SCORES, sorted by uid and name."""
    notes: list[str]
    """What was left out of it, each a line for the user."""


def read(path: Path, uid_column: str, columns: list[str] | None) -> ScoreTable:
    """Returns the scores of a csv or parquet file.

    Args:
        path: the file; `.parquet` is parquet, anything else csv with a header.
        uid_column: its column of uids, 32 hex digits.
        columns: the scores wanted; None takes every column of numbers.

    Missing values and NaN are left out and counted; rows that repeat a uid with the same scores count once.

    Raises:
        ValueError: naming the file and the column or row: no such column, a uid that is none, a uid with two
            different scores, a wanted column without numbers.
    """
    table = _open(path, uid_column)
    missing = [name for name in [uid_column, *(columns or [])] if name not in table.column_names]
    if missing:
        raise ValueError(f"{path}: no column {missing[0]}; columns: {', '.join(table.column_names)}")
    uids = _uids(table[uid_column], path)
    names = [name for name in columns or table.column_names if name != uid_column]
    values = {name: _numbers(table[name]) for name in names}
    useless = [name for name in names if values[name] is None]
    if (columns and useless) or len(useless) == len(names):
        raise ValueError(f"{path}: column {(useless or names or ['of scores'])[0]} does not hold numbers only")
    notes = [f"columns left out, they are not numbers: {', '.join(useless)}"] if useless else []
    parts = [_long(uids, name, column, path, notes) for name, column in values.items() if column is not None]
    scores = pa.concat_tables(parts).sort_by([("uid", "ascending"), ("name", "ascending")])
    return ScoreTable(scores=scores, notes=notes)


def merge(before: pa.Table, new: pa.Table) -> pa.Table:
    """Returns both tables of records.SCORES as one, sorted; of the same uid and name the new score stays."""
    keys = ["uid", "name"]
    stays = before.join(new.select(keys), keys=keys, join_type="left anti").select(records.SCORES.names)
    return pa.concat_tables([stays, new]).sort_by([(key, "ascending") for key in keys]).cast(records.SCORES)


def _open(path: Path, uid_column: str) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path, partitioning=None)
        options = pyarrow.csv.ConvertOptions(column_types={uid_column: pa.string()})
        return pyarrow.csv.read_csv(path, convert_options=options)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from None


def _uids(column: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    if not pa.types.is_string(column.type) and not pa.types.is_large_string(column.type):
        raise ValueError(f"{path}: its uids are {column.type}, not text of 32 hex digits")
    uids = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
    bad = pc.index(pc.fill_null(pc.match_substring_regex(uids, _UID), False), False).as_py()
    if bad >= 0:
        raise ValueError(f"{path}, row {bad + 1} below the header: {uids[bad].as_py()!r} is no uid of 32 hex digits")
    return uids


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    kind = column.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return column.cast(pa.float64()) if numeric else None


def _long(uids: pa.ChunkedArray, name: str, values: pa.ChunkedArray, path: Path, notes: list[str]) -> pa.Table:
    """Returns one score's rows of records.SCORES, and adds to the notes what was left out."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{path}: column {name!r} cannot name a score: use letters, digits, `_`, `.` and `-`")
    table = pa.table({"uid": uids, "value": values, "row": np.arange(1, len(uids) + 1)})
    known = table.filter(pc.fill_null(pc.is_finite(table["value"]), False))
    if known.num_rows < table.num_rows:
        notes.append(f"{name}: {table.num_rows - known.num_rows} rows without a finite number left out")
    grouped = known.group_by("uid").aggregate([("value", "min"), ("value", "max"), ("row", "max")])
    torn = grouped.filter(pc.not_equal(grouped["value_min"], grouped["value_max"]))
    if torn.num_rows:
        first = torn.sort_by("row_max")
        uid, row = first["uid"][0].as_py(), first["row_max"][0].as_py()
        raise ValueError(f"{path}, row {row} below the header: {uid} stands there with another {name} than before")
    if grouped.num_rows < known.num_rows:
        notes.append(f"{name}: {known.num_rows - grouped.num_rows} rows repeat a uid with the same score")
    named = pa.array([name] * grouped.num_rows, pa.string())
    return pa.table({"uid": grouped["uid"], "name": named, "value": grouped["value_min"]}).cast(records.SCORES)
