"""Select is a fold over snapshots: a verdict for every row, duplicates for the oldest, the same on every run."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage import records
from pipelines import select
from tests.builders import contents, enter, make_signals, write_params, write_signals

SIGNALS, OUT, PROVENANCE = Path("data/signals"), Path("data/selection"), Path("provenance/select/all.json")
Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)


def uid(number: int) -> str:
    return f"{number:032x}"


def sha(number: int) -> str:
    return f"{number % 16:x}{number:063x}"


def run(snapshots: dict[str, Rows], *, num_parts: int = 2, **changes: Any) -> dict[str, bytes]:
    for name, rows in snapshots.items():
        write_signals(SIGNALS / name, rows, num_parts)
    write_params(snapshots=list(snapshots), **changes)
    select.main(SIGNALS, OUT, PROVENANCE)
    return contents(OUT)


def verdicts(snapshot: str) -> dict[str, dict[str, Any]]:
    table = records.read_table(OUT / snapshot / "verdicts.parquet", records.VERDICTS)
    assert table["uid"].to_pylist() == sorted(table["uid"].to_pylist())
    return {row["uid"]: row for row in table.to_pylist()}


def kept(snapshot: str) -> dict[str, str]:
    rows = records.read_table(OUT / snapshot / "kept.parquet", records.KEPT).to_pylist()
    return {row["uid"]: row["split"] for row in rows}


def test_a_verdict_for_every_row() -> None:
    failed: dict[str, Any] = {"width": None, "height": None, "caption_chars": None}
    rows = [
        make_signals(uid(1)),
        make_signals(uid(2), width=7),
        make_signals(uid(3), error="http_404", **failed) | {"sha256": None},
        make_signals(uid(4), error="truncated", **failed),
    ]
    run({"s1": rows})
    found = verdicts("s1")
    names = ("keep", "reason", "rule", "value", "threshold", "duplicate_of", "duplicate_of_snapshot")
    assert [tuple(found[uid(n)][name] for name in names) for n in range(1, 5)] == [
        (True, "kept", None, None, None, None, None),
        (False, "too_small", "side", "7", "8", None, None),
        (False, "http_404", "download", None, None, None, None),
        (False, "truncated", "measure", None, None, None, None),
    ]
    account = {"rows_in": 4, "kept": 1, "dropped": {"too_small": 1}, "failed": {"http_404": 1, "truncated": 1}}
    assert json.loads(PROVENANCE.read_text())["counts"] == {**account, "snapshots": {"s1": account}}


def test_duplicates_go_for_the_least_uid_and_for_earlier_snapshots() -> None:
    first = [make_signals(uid(n), sha(1)) for n in (5, 3, 4)] + [make_signals(uid(9), sha(2), width=7)]
    second = [make_signals(uid(1), sha(1)), make_signals(uid(6), sha(2)), make_signals(uid(2), sha(2))]
    run({"s1": first, "s2": second})
    assert set(kept("s1")) == {uid(3)}
    assert set(kept("s2")) == {uid(2)}  # what was dropped by a rule takes no one along
    for snapshot, number, where, whose in (
        ("s1", 4, 3, "s1"),
        ("s1", 5, 3, "s1"),
        ("s2", 1, 3, "s1"),
        ("s2", 6, 2, "s2"),
    ):
        row = verdicts(snapshot)[uid(number)]
        assert (row["reason"], row["rule"]) == ("duplicate_exact", "exact")
        assert (row["duplicate_of"], row["duplicate_of_snapshot"]) == (uid(where), whose)
        assert row["value"] == sha(1 if where == 3 else 2)


def test_seen_before_whatever_became_of_it_now() -> None:
    first = [make_signals(uid(n), sha(n)) for n in range(1, 4)] + [make_signals(uid(4), width=7)]
    second = [
        make_signals(uid(1), sha(1)),
        make_signals(uid(2), error="http_404") | {"sha256": None},
        make_signals(uid(3), sha(99), width=7),
        make_signals(uid(4)),  # was not kept then
        make_signals(uid(5), sha(1)),
    ]
    run({"s1": first, "s2": second, "s3": [make_signals(uid(1), sha(1))]})
    found = verdicts("s2")
    reasons = ["seen_before"] * 3 + ["kept", "duplicate_exact"]
    assert [found[uid(n)]["reason"] for n in range(1, 6)] == reasons
    assert {found[uid(n)]["duplicate_of_snapshot"] for n in (1, 2, 3, 5)} == {"s1"}
    assert [found[uid(n)]["duplicate_of"] for n in (1, 2, 3, 5)] == [uid(1), uid(2), uid(3), uid(1)]
    assert verdicts("s3")[uid(1)]["duplicate_of_snapshot"] == "s1"


ROWS = [make_signals(uid(n), sha(n % 17), width=7 + n % 5) for n in range(60)]


def test_bytes_depend_on_neither_parts_nor_workers_nor_prefixes() -> None:
    snapshots = {"s1": ROWS[:40], "s2": ROWS[30:]}
    expected = run(snapshots)
    assert run({name: rows[::-1] for name, rows in snapshots.items()}) == expected
    assert run(snapshots, num_parts=5) == expected
    assert run(snapshots, select={"num_hash_prefixes": 256}) == expected


@pytest.mark.slow
def test_bytes_are_the_same_on_two_workers() -> None:
    snapshots = {"s1": ROWS[:40], "s2": ROWS[30:]}
    expected = run(snapshots)
    assert run(snapshots, runner={"num_workers": 2, "running_mode": "multi_processing"}) == expected


def test_a_snapshot_no_longer_listed_goes() -> None:
    alone = run({"s1": ROWS[:20]})
    run({"s1": ROWS[:20], "s2": ROWS[20:]})
    assert run({"s1": ROWS[:20]}) == alone
    assert not (SIGNALS / "s2").exists()


def test_empty_and_missing_snapshots() -> None:
    with pytest.raises(ValueError, match="snapshots is empty; add a URL list with"):
        run({})
    assert run({"s1": []}).keys() == {"s1/verdicts.parquet", "s1/kept.parquet"}
    write_params(snapshots=["s1", "s2"])
    with pytest.raises(FileNotFoundError, match="data/signals/s2: no signals there; `dvc repro measure@s2`"):
        select.main(SIGNALS, OUT, PROVENANCE)


ROW = st.builds(
    lambda number, content, wide, gone: make_signals(
        uid(number), sha(content), width=20 if wide else 7, error="http_404" if gone else None
    ),
    st.integers(0, 12),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
)
SNAPSHOT = st.lists(ROW, max_size=10, unique_by=lambda row: row["uid"])


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=SNAPSHOT, second=SNAPSHOT)
def test_the_first_snapshot_does_not_depend_on_the_second(first: Rows, second: Rows) -> None:
    alone = run({"s1": first})
    both = run({"s1": first, "s2": second})
    assert {name: content for name, content in both.items() if name.startswith("s1/")} == alone
    check_invariants({"s1": first, "s2": second})


def check_invariants(snapshots: dict[str, Rows]) -> None:
    kept_shas: list[str] = []
    for name, rows in snapshots.items():
        found = verdicts(name)
        assert set(found) == {row["uid"] for row in rows}
        keepers = {uid for uid, row in found.items() if row["keep"]}
        assert keepers == set(kept(name))
        kept_shas += [row["sha256"] for row in rows if row["uid"] in keepers]
        for row in found.values():
            assert row["keep"] == (row["reason"] == "kept")
            if row["duplicate_of"]:
                assert row["duplicate_of"] in kept(row["duplicate_of_snapshot"])
    assert len(set(kept_shas)) == len(kept_shas)


def test_split_is_a_pure_function() -> None:
    uids = [uid(n) for n in range(2000)]
    splits = [select.split_of(name, 0.3) for name in uids]
    assert splits == [select.split_of(name, 0.3) for name in uids]
    assert select.split_of("0" * 32, 0.3) == "train"
    assert 0.25 < splits.count("val") / len(splits) < 0.35
    # a larger share only adds
    assert all(select.split_of(name, 0.5) == "val" for name, split in zip(uids, splits, strict=True) if split == "val")
    assert {select.split_of(name, 0.0) for name in uids} == {"train"}
    assert {select.split_of(name, 1.0) for name in uids} == {"val"}
