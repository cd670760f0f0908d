"""Verdicts in words: the bytes of a streamed table, the split, values as text."""

from pathlib import Path

import pyarrow as pa

from lineage import records
from pipelines.selection import verdicts
from pipelines.selection.verdicts import splits_of, value_texts, worded
from tests.builders import make_signals
from tests.pipelines.snapshots import run_fold, uid, write_snapshot


def test_overlapping_parts_are_read_together_and_others_one_by_one(tmp_path: Path) -> None:
    rows = [make_signals(uid(n << 64)) for n in range(12)]
    write_snapshot(tmp_path, "s1", rows, num_parts=3)  # rows by turns: they overlap
    (outcome,) = run_fold(tmp_path, [], ["s1"])
    assert [some.verdicts.num_rows for some in worded(outcome, 0.5)] == [12]
    for part in range(3):
        records.write_table(
            records.rows_table(rows[part * 4 : part * 4 + 4], records.SIGNALS),
            tmp_path / f"signals/s1/{2 - part:05d}.parquet",  # later parts first
        )
    (outcome,) = run_fold(tmp_path, [], ["s1"])
    found = [some.verdicts["uid"].to_pylist() for some in worded(outcome, 0.5)]
    assert found == [[uid(n << 64) for n in range(start, start + 4)] for start in (0, 4, 8)]


def test_split_is_a_pure_function_of_the_uid_at_the_rate_asked_for() -> None:
    uids = [uid(n).encode() for n in range(2000)]
    splits = splits_of(uids, 0.2)
    assert splits == splits_of(uids[:9], 0.2) + splits_of(uids[9:], 0.2)
    assert 0.17 < splits.count("val") / 2000 < 0.23
    assert set(splits_of(uids, 0.0)) == {"train"}
    assert set(splits_of(uids, 1.0)) == {"val"}
    larger = splits_of(uids, 0.3)
    assert all(more == "val" for one, more in zip(splits, larger, strict=True) if one == "val")


def test_values_as_text() -> None:
    numbers = pa.array([7.0, 0.28, 1 / 3, -0.0000001, 12345678.0, None])
    assert value_texts(numbers).to_pylist() == ["7", "0.28", "0.333333", "0", "12345678", None]
    assert value_texts(pa.array(["en 0.9", None])).to_pylist() == ["en 0.9", None]
    assert verdicts.GROUPED
