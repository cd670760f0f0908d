from pathlib import Path

import pytest
import yaml

from flows import outcomes
from lineage import runs


def write_lock(root: Path, **md5s: str) -> None:
    stages = {
        name.replace("_at_", "@"): {"cmd": "x", "outs": [{"path": "a", "md5": md5}]} for name, md5 in md5s.items()
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def ran(root: Path, stage: str, instance: str) -> None:
    runs.append(stage, {"instance": instance, "seconds": 1.0}, root / runs.RUNS)


def test_a_new_record_says_reproduced_even_where_the_lock_is_the_same(tmp_path: Path) -> None:
    write_lock(tmp_path, train_at_clip="1")
    before = outcomes.of("train@clip", tmp_path)
    ran(tmp_path, "train", "clip")
    after = outcomes.of("train@clip", tmp_path)
    assert outcomes.outcome(before, after) == "Reproduced"
    assert after.last is not None
    assert after.last["seconds"] == 1.0


def test_a_new_entry_without_a_record_says_run_cache(tmp_path: Path) -> None:
    write_lock(tmp_path, train_at_clip="1")
    ran(tmp_path, "train", "clip")
    before = outcomes.of("train@clip", tmp_path)
    write_lock(tmp_path, train_at_clip="2")
    ran(tmp_path, "train", "cyclip")
    assert outcomes.outcome(before, outcomes.of("train@clip", tmp_path)) == "RunCache"


def test_neither_says_cached(tmp_path: Path) -> None:
    write_lock(tmp_path, select="1", pack="1")
    ran(tmp_path, "select", "all")
    before = outcomes.of("select", tmp_path)
    write_lock(tmp_path, select="1", pack="2")
    ran(tmp_path, "pack", "all")
    assert outcomes.outcome(before, outcomes.of("select", tmp_path)) == "Cached"


def test_without_a_lock_nothing_is_held(tmp_path: Path) -> None:
    trace = outcomes.of("select", tmp_path)
    assert trace.entry is None
    assert trace.last is None


def test_damaged_records_are_told(tmp_path: Path) -> None:
    ran(tmp_path, "select", "all")
    (tmp_path / "runs/select.jsonl").write_text("{\n")
    with pytest.raises(ValueError, match=r"select.jsonl:1: not a run record"):
        outcomes.of("select", tmp_path)
