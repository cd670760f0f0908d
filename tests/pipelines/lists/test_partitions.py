"""Rows come back in order of uid whatever the number of partitions, and a file written bit by bit is the same file."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.lists import partitions
from pipelines.lists.partitions import Partitions

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
