"""Cursors read sorted records side by side, whatever their files and row groups, and refuse what is not in order."""

import itertools
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage import records
from lineage.cursors import Cursor

KEPT = records.KEPT


def write(path: Path, uids: list[str]) -> None:
    records.write_table(pa.table({"uid": uids, "split": ["train"] * len(uids)}, schema=KEPT), path)


@given(
    uids=st.lists(st.text("abc", min_size=1, max_size=3), unique=True).map(sorted),
    cuts=st.lists(st.integers(0, 12), max_size=3).map(sorted),
    stops=st.lists(st.text("abc", max_size=3)).map(sorted),
    rows=st.integers(1, 4),
)
def test_rows_come_once_and_up_to_the_uid(
    tmp_path_factory: pytest.TempPathFactory, uids: list[str], cuts: list[int], stops: list[str], rows: int
) -> None:
    folder = tmp_path_factory.mktemp("cursor")
    edges = [0, *(min(cut, len(uids)) for cut in cuts), len(uids)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(records, "ROWS_PER_GROUP", rows)
        for number, (start, end) in enumerate(itertools.pairwise(edges)):
            write(folder / f"{number:05}.parquet", uids[start:end])
    cursor = Cursor(folder, KEPT, ["uid"])
    left = list(uids)
    for stop in stops:
        found = cursor.upto(stop)["uid"].to_pylist()
        assert found == [uid for uid in left if uid <= stop]
        left = left[len(found) :]
    assert cursor.upto(None)["uid"].to_pylist() == left
    assert [uid for group in Cursor(folder, KEPT, KEPT.names).groups() for uid in group["uid"].to_pylist()] == uids


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([["a", "a"]], r"0\.parquet: a uid stands in it twice"),
        ([["a"], ["a"]], r"1\.parquet: a uid stands in it twice"),
        ([["b", "a"]], r"0\.parquet: its rows are not sorted"),
        ([["b"], [], ["a"]], r"2\.parquet: its rows are not sorted"),
    ],
)
def test_what_is_not_in_order_is_refused(tmp_path: Path, parts: list[list[str]], message: str) -> None:
    for number, uids in enumerate(parts):
        write(tmp_path / f"{number}.parquet", uids)
    with pytest.raises(ValueError, match=message):
        list(Cursor(tmp_path, KEPT, ["uid"]).groups())


def test_a_file_that_is_damaged_or_lacks_a_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kept.parquet"
    with pytest.raises(FileNotFoundError, match="no parquet file there"):
        list(Cursor(path, KEPT, ["uid"]).groups())
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"kept\.parquet: cannot be read as parquet"):
        list(Cursor(path, KEPT, ["uid"]).groups())
    records.write_table(pa.table({"uid": ["a"]}), path)
    with pytest.raises(ValueError, match=r"kept\.parquet: column split is missing"):
        list(Cursor(path, KEPT, KEPT.names).groups())
