"""Rows come back in order of uid whatever the number of partitions, and a file written bit by bit is the same file."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage import records
from pipelines import partitions, row_groups
from pipelines.partitions import Partitions
from pipelines.row_groups import RowGroupWriter

SCHEMA = pa.schema([("uid", pa.string()), ("place", pa.int64())])


def rows(uids: list[str], start: int = 0) -> pa.Table:
    return pa.table({"uid": uids, "place": range(start, start + len(uids))}, schema=SCHEMA)


@pytest.mark.parametrize("number", [1, 2, 3, 7, 64, 512])
def test_order_is_of_uid_and_then_of_arrival(tmp_path: Path, number: int) -> None:
    batches = [["ffff1", "00001", "80001", "00001"], [], ["7fff1", "00001", "ffff0"]]
    with Partitions(tmp_path / "aside", SCHEMA, number) as aside:
        for place, batch in enumerate(batches):
            aside.add(rows(batch, 10 * place))
    found = [row for table in aside.tables() for row in zip(*table.to_pydict().values(), strict=True)]
    assert found == [
        ("00001", 1),
        ("00001", 3),
        ("00001", 21),
        ("7fff1", 20),
        ("80001", 2),
        ("ffff0", 22),
        ("ffff1", 0),
    ]
    assert list((tmp_path / "aside").iterdir()) == []


def test_each_row_lies_in_the_partition_of_its_prefix(tmp_path: Path) -> None:
    with Partitions(tmp_path / "aside", SCHEMA, 4) as aside:
        aside.add(rows([f"{digit:x}000" for digit in range(16)]))
    assert [[uid[0] for uid in table["uid"].to_pylist()] for table in aside.tables()] == [
        list("0123"),
        list("4567"),
        list("89ab"),
        list("cdef"),
    ]


def test_a_partition_that_cannot_be_sorted_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "MAX_PARTITION_BYTES", 100)
    with Partitions(tmp_path / "aside", SCHEMA, 1) as aside:
        aside.add(rows(["0000"]))
    with pytest.raises(ValueError, match=r"more than 100 bytes; raise source\.num_partitions"):
        list(aside.tables())


@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 25, 30])
@pytest.mark.parametrize("step", [1, 4, 10, 30])
def test_bytes_are_those_of_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, step: int) -> None:
    monkeypatch.setattr(row_groups, "ROWS_PER_GROUP", 10)
    table = pa.table(
        {"uid": [f"{n % 7:032x}" if n % 5 else None for n in range(number)], "place": range(number)}, SCHEMA
    )
    with RowGroupWriter(tmp_path / "bits.parquet", SCHEMA) as writer:
        for start in range(0, number, step):
            writer.write(table.slice(start, step))
    assert writer.num_rows == number
    monkeypatch.setattr(pq, "write_table", in_groups_of_ten(pq.write_table))
    records.write_table(table, tmp_path / "whole.parquet")
    assert (tmp_path / "bits.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def in_groups_of_ten(write_table: Callable[..., None]) -> Callable[..., None]:
    """Returns pq.write_table with small row groups, all else as records.write_table wants it."""
    return lambda *arguments, **options: write_table(*arguments, **{**options, "row_group_size": 10})


def test_bytes_are_those_of_one_table_of_several_whole_groups(tmp_path: Path) -> None:
    number = 2 * row_groups.ROWS_PER_GROUP + 5
    table = pa.table({"uid": [f"{n:032x}" for n in range(number)], "place": range(number)}, SCHEMA)
    with RowGroupWriter(tmp_path / "bits.parquet", SCHEMA) as writer:
        for start in range(0, number, 50_000):
            writer.write(table.slice(start, 50_000))
    records.write_table(table, tmp_path / "whole.parquet")
    assert (tmp_path / "bits.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_nothing_stays_of_a_file_that_failed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), RowGroupWriter(tmp_path / "a.parquet", SCHEMA) as writer:
        writer.write(rows(["0000"]))
        raise KeyError
    assert list(tmp_path.iterdir()) == []
