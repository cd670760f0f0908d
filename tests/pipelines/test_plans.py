"""Sorted records are cut into the slices asked for, whatever the batches; damage names the file."""

import itertools
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage import records
from pipelines import plans

SCHEMA = pa.schema([("uid", pa.string()), ("shard", pa.int64())])


def table(start: int, stop: int) -> pa.Table:
    return pa.table([[f"{n:04d}" for n in range(start, stop)], list(range(start, stop))], schema=SCHEMA)


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=8), st.lists(st.integers(1, 9), max_size=8))
def test_cutting_keeps_rows_and_order(batches: list[int], sizes: list[int]) -> None:
    sizes = [*sizes, sum(batches) - sum(sizes)] if sum(sizes) < sum(batches) else [1] * sum(batches)
    starts = [sum(batches[:n]) for n in range(len(batches) + 1)]
    cut = list(plans.cut((table(a, b) for a, b in itertools.pairwise(starts)), sizes))
    assert [piece.num_rows for piece in cut] == sizes
    assert [n for piece in cut for n in piece["shard"].to_pylist()] == list(range(sum(batches)))


def test_batches_are_the_file_in_bounded_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "_BATCH_ROWS", 100)
    records.write_table(table(0, 250), tmp_path / "a.parquet")
    found = list(plans.batches(tmp_path / "a.parquet", SCHEMA))
    assert [piece.num_rows for piece in found] == [100, 100, 50]
    assert pa.concat_tables(found).equals(table(0, 250))
    assert plans.num_rows(tmp_path / "a.parquet") == 250


def test_slices_are_written_once(tmp_path: Path) -> None:
    paths = [tmp_path / "plan" / f"{n}.parquet" for n in range(2)]
    plans.write([table(0, 1), table(1, 3)], paths)
    assert records.read_table(paths[1])["uid"].to_pylist() == ["0001", "0002"]
    before = paths[0].stat().st_mtime_ns
    plans.write([table(0, 1), table(1, 3)], paths)
    assert paths[0].stat().st_mtime_ns == before


def test_damage_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.parquet: no parquet file there"):
        list(plans.batches(tmp_path / "gone.parquet", SCHEMA))
    records.write_table(table(0, 5).select(["uid"]), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: column shard is missing"):
        list(plans.batches(tmp_path / "a.parquet", SCHEMA))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 not parquet")
    with pytest.raises(ValueError, match=r"b\.parquet: cannot be read as parquet"):
        list(plans.batches(tmp_path / "b.parquet", SCHEMA))
    with pytest.raises(ValueError, match=r"b\.parquet: cannot be read as parquet"):
        plans.num_rows(tmp_path / "b.parquet")
