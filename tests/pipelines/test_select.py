"""Stage select: a verdict and every value for every row, the guard, the same bytes on every run."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lineage import records
from pipelines import select
from tests.builders import contents, enter, make_signals, write_params
from tests.pipelines.snapshots import Row, failed, sha, uid, unit, write_roots, write_set, write_snapshot

DATA, OUT, PROVENANCE = Path("data"), Path("data/selection"), Path("provenance/select/all.json")
ARGUMENTS = [
    *(DATA / name for name in ("signals", "embeddings", "test_embeddings", "benchmarks")),
    *(DATA / name for name in ("optouts.parquet", "scores.parquet", "concepts.txt", "selection")),
    PROVENANCE,
]
FILES = ("exclusion.json", "kept.parquet", "values.parquet", "verdicts.parquet")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    write_roots(DATA)
    write_set(DATA, "tests", ["f" * 16], [unit(1)])


def run(snapshots: dict[str, list[Row]], *, num_parts: int = 2, **changes: Any) -> dict[str, bytes]:
    for name, rows in snapshots.items():
        write_snapshot(DATA, name, rows, num_parts=num_parts)
    write_params(snapshots=list(snapshots), sets=["tests"], **changes)
    select.main(*ARGUMENTS)
    return contents(OUT)


def table(snapshot: str, name: str) -> dict[str, Row]:
    rows = records.read_table(OUT / snapshot / f"{name}.parquet").to_pylist()
    assert [row["uid"] for row in rows] == sorted(row["uid"] for row in rows)
    return {row["uid"]: row for row in rows}


def test_a_verdict_and_all_values_for_every_row() -> None:
    rows = [
        make_signals(uid(1), sha(1)),
        make_signals(uid(2), sha(1), width=7),
        failed(3, "http_404"),
        failed(4, "truncated"),
        make_signals(uid(5), sha(1)),
        make_signals(uid(6), width=49),
    ]
    run({"s1": rows})
    found = table("s1", "verdicts")
    names = ("keep", "reason", "rule", "value", "threshold", "duplicate_of", "duplicate_of_snapshot")
    assert [tuple(found[uid(n)][name] for name in names) for n in range(1, 7)] == [
        (True, "kept", None, None, None, None, None),
        (False, "too_small", "side", "7", "8", None, None),
        (False, "http_404", "download", None, None, None, None),
        (False, "truncated", "measure", None, None, None, None),
        (False, "duplicate_exact", "exact", "3", "1", uid(1), "s1"),
        (False, "too_elongated", "aspect", "3.0625", "3", None, None),
    ]
    values = table("s1", "values")
    labels = ["side", "aspect", "caption_length", "caption_letters", "script", "language", "exact"]
    assert list(values[uid(1)]) == ["uid", *labels]
    assert list(values[uid(2)].values())[1:] == [7.0, 16 / 7, 20.0, "16 1", "latin 1", "en 0.99", 3.0]
    assert set(values[uid(3)].values()) == {uid(3), 20.0, "16 1", "latin 1", "en 0.99", None}  # of its caption
    assert set(table("s1", "kept")) == {uid(1)}
    account = {
        "rows_in": 6,
        "kept": 1,
        "dropped": {"duplicate_exact": 1, "too_elongated": 1, "too_small": 1},
        "failed": {"http_404": 1, "truncated": 1},
    }
    assert json.loads(PROVENANCE.read_text())["counts"] == {**account, "snapshots": {"s1": account}}
    assert sorted(path.name for path in (OUT / "s1").iterdir()) == list(FILES)


ROWS = [make_signals(uid(n), sha(n % 17), width=7 + n % 5) for n in range(60)]
SNAPSHOTS = {"s1": ROWS[:40], "s2": ROWS[30:]}


def test_bytes_depend_on_neither_parts_nor_partitions_nor_the_order_of_rows() -> None:
    expected = run(SNAPSHOTS)
    assert run({name: rows[::-1] for name, rows in SNAPSHOTS.items()}) == expected
    assert run(SNAPSHOTS, num_parts=5, select={"num_partitions": 16}) == expected


@pytest.mark.slow
def test_bytes_are_the_same_on_two_workers() -> None:
    expected = run(SNAPSHOTS)
    assert run(SNAPSHOTS, runner={"num_workers": 2, "running_mode": "multi_processing"}) == expected


@pytest.mark.slow
def test_a_killed_run_is_continued_to_the_same_bytes() -> None:
    expected = run(SNAPSHOTS)
    command = [sys.executable, "-m", "pipelines.select", *map(str, ARGUMENTS)]
    for step in ("s1/rows", "s1/exact/groups", "s2/exact/keys"):
        process = subprocess.Popen(command)
        work = Path(".work")
        until = time.monotonic() + 60
        while not any(work.glob(f"select-all-*/steps/{step}/receipts/*.json")) and time.monotonic() < until:
            time.sleep(0.01)
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    select.main(*ARGUMENTS)
    assert contents(OUT) == expected


def test_what_params_no_longer_list_goes() -> None:
    alone = run({"s1": ROWS[:20]})
    run({"s1": ROWS[:20], "s2": ROWS[20:]})
    assert run({"s1": ROWS[:20]}) == alone
    assert not (DATA / "signals/s2").exists()
    assert not (DATA / "embeddings/s2").exists()
    write_params(snapshots=["s1"], sets=[])
    select.main(*ARGUMENTS)
    assert not (DATA / "benchmarks/tests").exists()


def test_empty_and_missing_snapshots() -> None:
    with pytest.raises(ValueError, match="snapshots is empty; add a URL list with"):
        run({})
    assert set(run({"s1": []})) == {f"s1/{name}" for name in FILES}
    write_params(snapshots=["s1", "s2"], sets=["tests"])
    with pytest.raises(FileNotFoundError, match="signals/s2: no signals there; `dvc repro measure@s2` makes them"):
        select.main(*ARGUMENTS)


def test_sets_to_keep_out_must_be_listed() -> None:
    with pytest.raises(ValueError, match=r"select\.decontaminate_against: other is not listed under `sets`"):
        run({"s1": ROWS}, select={"decontaminate_against": ["other"]})


def test_the_guard_names_the_rule_that_drops_most(caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        *(make_signals(uid(n), width=7) for n in range(3)),
        make_signals(uid(3), caption_chars=1),
        *(make_signals(uid(n)) for n in range(4, 8)),
        failed(8, "http_404"),
    ]
    words = "rules drop 50.0% of the 8 rows of s1, more than select.max_drop_frac .49.0%.; most, 3, goes by side"
    with pytest.raises(ValueError, match=f"{words}; nothing was published"):
        run({"s1": rows}, select={"max_drop_frac": 0.49, "on_excess": "fail"})
    assert not OUT.exists()
    with caplog.at_level(logging.WARNING, logger="clipline"):
        run({"s1": rows}, select={"max_drop_frac": 0.49})
    assert "most, 3, goes by side" in caplog.text
    caplog.clear()
    run({"s1": rows}, select={"max_drop_frac": 0.5, "on_excess": "fail"})
    assert not caplog.text


def test_a_score_that_no_row_has_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    score: dict[str, Any] = {"rule": "score", "min": 1.0, "max": None, "missing": "keep"}
    recipe = [{**score, "name": "flatness", "as": "flat"}, {**score, "name": "aesthetik"}]
    with caplog.at_level(logging.WARNING, logger="clipline"):
        run({"s1": [make_signals(uid(1))]}, select={"rules": recipe})
    assert caplog.messages == ["warning: select: no row of s1 has the score that rule score asks for"]


def test_rows_seen_before_are_not_the_rules_work() -> None:
    rows = [make_signals(uid(n)) for n in range(10)]
    run({"s1": rows, "s2": [*rows, make_signals(uid(20))]}, select={"max_drop_frac": 0.1, "on_excess": "fail"})
    assert table("s2", "verdicts")[uid(3)]["reason"] == "seen_before"
