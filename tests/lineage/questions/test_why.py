"""why tells the whole trail of a pair in order, and says what is not here."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lineage import records
from lineage.questions import holdings, subjects, why
from lineage.questions.holdings import Holdings
from tests.lineage.questions.small import sha, uid


def trail(held: Holdings, snapshot: str, number: int) -> dict[str, Any]:
    (row,) = subjects.by_key(held, snapshot, "uid", uid(snapshot, number)).tolist()
    return why.why(held, snapshot, row)


def step(told: dict[str, Any], name: str) -> dict[str, Any]:
    return next(step for step in told["steps"] if step["step"] == name)


def test_a_kept_pair_from_list_to_exposure(first: Holdings) -> None:
    told = trail(first, "s1", 3)
    assert [step["step"] for step in told["steps"]] == [
        *("list", "download", "attempts", "signals", "score", "select", "duplicates", "shard", "exposure")
    ]
    assert (told["kept"], told["reason"]) == (True, "kept")
    assert step(told, "list")["url"] == "http://img.b.test/3.png"
    assert step(told, "list")["taken_down"] is False
    assert step(told, "download")["sha256"] == sha("picture 3")
    assert step(told, "signals")["width"] == 24
    assert step(told, "score")["clip_score"] == 0.3
    assert step(told, "score")["scorer"] == first.outs["models/scorer"]
    assert step(told, "shard")["path"] == "data/shards/s1/train/00000.tar"
    assert step(told, "shard")["length"] == len(b"picture 3")
    assert step(told, "exposure")["times"] == {"clip-0": 10, "scorer": 0}


def test_every_rule_stands_with_its_value_its_bounds_and_its_outcome(first: Holdings) -> None:
    rules = step(trail(first, "s1", 2), "select")["rules"]
    assert [(rule["rule"], rule["value"], rule["outcome"]) for rule in rules] == [
        ("opt_out", None, "passed"),
        ("side", 16.0, "dropped by it"),
        ("exact", None, "not reached"),
    ]
    assert rules[1]["bounds"]["min_px"] == 32


def test_a_duplicate_and_what_it_duplicates_tell_of_each_other(first: Holdings) -> None:
    kept = {"snapshot": "s1", "uid": uid("s1", 3)}
    displaced = [{"snapshot": "s2", "uid": uid("s2", 5), "reason": "duplicate_exact"}]
    for snapshot, number in (("s1", 3), ("s2", 5)):
        group = step(trail(first, snapshot, number), "duplicates")
        assert (group["kept"], group["displaced"]) == (kept, displaced)
    assert step(trail(first, "s2", 6), "duplicates") == {"step": "duplicates"}


def test_a_failed_pair_says_what_failed(second: Holdings) -> None:
    told = trail(second, "s1", 4)
    assert told["meaning"] == "the server says the picture is not there"
    assert step(told, "download") == {**step(told, "download"), "outcome": "failed", "reason": "http_404"}
    assert step(told, "score") == {"step": "score"}
    assert {rule["outcome"] for rule in step(told, "select")["rules"]} == {"not judged"}


def test_the_facts_of_the_web_are_shown_where_the_store_is(
    second: Holdings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not there" in step(trail(second, "s1", 4), "attempts")["not_here"]
    monkeypatch.setenv("CLIPLINE_STORE", str(tmp_path))
    row = {"uid": uid("s1", 4), "status": 404, "attempts": '[{"status": 404}]'}
    table = records.rows_table([row], pa.schema([("uid", "string"), ("status", "int64"), ("attempts", "string")]))
    records.write_table(table, tmp_path / "attempts/s1/attempts.parquet")
    told = step(trail(second, "s1", 4), "attempts")
    assert (told["status"], told["attempts"]) == (404, [{"status": 404}])


def test_with_manifests_alone_all_but_the_web_is_told(laid_down: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(laid_down, folder)
    for shard in folder.glob("data/shards/*/*/*.tar"):
        shard.unlink()
    shutil.rmtree(folder / ".dvc" / "cache")
    shutil.rmtree(folder / "data/embeddings")
    told = trail(holdings.at(folder), "s1", 3)
    missing = [step["step"] for step in told["steps"] if "not_here" in step]
    assert missing == ["attempts", "score"]
    assert "dvc pull data/embeddings/s1" in step(told, "score")["not_here"]
    assert step(told, "shard")["offset"] >= 512
