"""A user's table becomes (uid, name, value) rows; what is of no use is counted, contradictions are refused."""

import math
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage import records
from pipelines import score_tables

A, B, C = "a" * 32, "b" * 32, "c" * 32


def write(path: Path, columns: dict[str, Any]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        rows = zip(*columns.values(), strict=True)
        lines = [",".join("" if cell is None else str(cell) for cell in row) for row in [tuple(columns), *rows]]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows_of(table: pa.Table) -> list[tuple[str, str, float]]:
    assert table.schema == records.SCORES
    return [(row["uid"], row["name"], row["value"]) for row in table.to_pylist()]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_wide_table_becomes_long(tmp_path: Path, name: str) -> None:
    columns = {
        "id": [B, A, C, A],
        "nice": [1, 2, 3, 2],
        "safe": [0.5, math.nan, None, 0.25],
        "url": ["x", "y", "z", "y"],
    }
    read = score_tables.read(write(tmp_path / name, columns), "id", None)
    assert rows_of(read.scores) == [
        (A, "nice", 2.0),
        (A, "safe", 0.25),
        (B, "nice", 1.0),
        (B, "safe", 0.5),
        (C, "nice", 3.0),
    ]
    assert read.notes == [
        "columns left out, they are not numbers: url",
        "nice: 1 rows repeat a uid with the same score",
        "safe: 2 rows without a finite number left out",
    ]


def test_some_columns_only_and_uids_of_digits_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", {"uid": ["1" * 32], "x": [1], "y": [2]})
    assert rows_of(score_tables.read(path, "uid", ["y"]).scores) == [("1" * 32, "y", 2.0)]


@pytest.mark.parametrize(
    ("columns", "wanted", "words"),
    [
        ({"uid": [A, "short"], "x": [1, 2]}, None, ", row 2 below the header: 'short' is no uid of 32 hex digits"),
        ({"uid": [A, None], "x": [1, 2]}, None, ", row 2 below the header: None is no uid of 32 hex digits"),
        ({"uid": [A, B, A], "x": [1, 2, 3]}, None, f", row 3 below the header: {A} stands there with another x than"),
        ({"uid": [A], "x": ["y"]}, None, ": column x does not hold numbers only"),
        ({"uid": [A], "x": ["y"], "z": [1]}, ["x"], ": column x does not hold numbers only"),
        ({"uid": [A]}, None, ": column of scores does not hold numbers only"),
        ({"uid": [A], "x": [1]}, ["y"], ": no column y; columns: uid, x"),
        ({"id": [A], "x": [1]}, None, ": no column uid; columns: id, x"),
        ({"uid": [A], "x y": [1]}, None, ": column 'x y' cannot name a score"),
        ({"uid": [1], "x": [1]}, None, ": its uids are int64, not text of 32 hex digits"),
    ],
)
def test_mistakes_name_file_and_row(
    tmp_path: Path, columns: dict[str, Any], wanted: list[str] | None, words: str
) -> None:
    path = write(tmp_path / "t.parquet", columns)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path) + words)}"):
        score_tables.read(path, "uid", wanted)


@pytest.mark.parametrize("name", ["no.csv", "no.parquet"])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: no such file"):
        score_tables.read(tmp_path / name, "uid", None)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=f"{name}: cannot be read"):
        score_tables.read(tmp_path / name, "uid", None)


def test_new_scores_replace_old_ones() -> None:
    def table(*rows: tuple[str, str, float]) -> pa.Table:
        return records.rows_table([dict(zip(records.SCORES.names, row, strict=True)) for row in rows], records.SCORES)

    merged = score_tables.merge(table((A, "x", 1.0), (A, "y", 2.0)), table((A, "x", 3.0), (B, "x", 4.0)))
    assert rows_of(merged) == [(A, "x", 3.0), (A, "y", 2.0), (B, "x", 4.0)]
