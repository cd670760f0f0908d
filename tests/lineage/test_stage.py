"""The frame of a stage: every row accounted for, every digest recorded, a kill survived, a mistake one line."""

import contextlib
import dataclasses
import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineage import digests, files, runs, stage
from tests.lineage.conftest import ENV

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    bound: int


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x").write_text("1")


@contextlib.contextmanager
def audit(bound: int = 1, instance: str = "all", **changed: Any) -> Iterator[stage.Run]:
    paths = {"deps": [Path("in")], "outs": [Path("out")], "provenance": Path(f"provenance/audit/{instance}.json")}
    with stage.run("audit", instance, params=Config(bound=bound), **{**paths, **changed}) as this:
        yield this


def finish(this: stage.Run, text: str = "made") -> None:
    (this.scratch / "out").mkdir(exist_ok=True)
    (this.scratch / "out" / "y").write_text(text)
    this.publish(this.scratch / "out", Path("out"))
    this.account(rows_in=3, kept=1, dropped={"too_small": 1, "language": 0}, failed={"timeout": 1}, pages=7)


def test_a_run_leaves_its_out_provenance_and_record_and_no_scratch() -> None:
    with audit() as this:
        finish(this)
    assert Path("out/y").read_text() == "made"
    assert not this.scratch.exists()
    assert json.loads(Path("provenance/audit/all.json").read_text()) == {
        "stage": "audit",
        "instance": "all",
        "parents": {"in": digests.dvc_digest(Path("in"))},
        "params": {"bound": 1},
        "counts": {"rows_in": 3, "kept": 1, "dropped": {"too_small": 1}, "failed": {"timeout": 1}, "pages": 7},
        "outs": {"out": digests.described(Path("out"))},
    }
    (record,) = runs.read("audit")
    assert record["deps"] == {"in": digests.dvc_digest(Path("in"))}
    assert record["outs"] == {
        "out": digests.dvc_digest(Path("out")),
        "provenance/audit/all.json": digests.md5_file(Path("provenance/audit/all.json")),
    }


def test_what_a_clock_says_is_in_the_run_record_only() -> None:
    with audit() as this:
        finish(this)
        this.speed |= {"samples_per_s": 12.5}
    (record,) = runs.read("audit")
    assert record["speed"] == {"samples_per_s": 12.5}
    assert "samples_per_s" not in Path("provenance/audit/all.json").read_text()


def test_a_second_run_has_the_same_provenance_and_a_chained_record() -> None:
    contents = set()
    for _ in range(2):
        with audit() as this:
            finish(this)
        contents.add(Path("provenance/audit/all.json").read_bytes())
    assert len(contents) == 1
    assert len(list(runs.read("audit"))) == 2


def test_an_old_out_is_replaced_whole() -> None:
    Path("out").mkdir()
    Path("out/old").touch()
    with audit() as this:
        finish(this)
    assert [path.name for path in Path("out").iterdir()] == ["y"]


@pytest.mark.parametrize("kept", [0, 3])
def test_rows_that_vanish_or_appear_stop_the_stage(kept: int) -> None:
    with pytest.raises(ValueError, match=rf"audit@all: 3 rows in, but {kept + 1} accounted for \(kept {kept}"):
        with audit() as this:
            this.account(rows_in=3, kept=kept, dropped={"too_small": 1})
    assert not Path("provenance").exists()
    assert not Path("runs").exists()


def test_a_reason_outside_the_closed_set_stops_the_stage() -> None:
    with pytest.raises(ValueError, match="reason 'ugly' is not one of"):
        with audit() as this:
            this.account(rows_in=1, kept=0, dropped={"ugly": 1})


def test_a_missing_dep_says_what_to_do() -> None:
    with pytest.raises(FileNotFoundError, match=r"none: no such file or folder; `dvc repro` makes"):
        with audit(deps=[Path("none")]):
            pass


def scratch_after_a_crash(**changed: Any) -> Path:
    with contextlib.suppress(RuntimeError):
        with audit(**changed) as this:
            (this.scratch / "half").touch()
            raise RuntimeError
    return this.scratch


def test_the_scratch_of_a_crash_is_met_again_by_equal_inputs_only() -> None:
    first = scratch_after_a_crash()
    assert (first / "half").exists()
    assert scratch_after_a_crash() == first
    assert scratch_after_a_crash(bound=2) != first
    Path("in/x").write_text("2")
    assert scratch_after_a_crash() != first
    Path("in/x").write_text("1")
    Path("requirements.lock").write_text("numpy==1")
    assert scratch_after_a_crash() != first


def test_a_scratch_that_was_half_removed_is_not_met_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def remove_half(path: Path) -> None:
        (path / "half").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt), audit() as this:
        (this.scratch / "half").touch()
        (this.scratch / "receipt of it").touch()
        finish(this)
        patched.setattr(files, "remove", remove_half)
    with audit() as again:
        assert again.scratch == this.scratch
        assert list(again.scratch.iterdir()) == []
        finish(again)
    assert [path.name for path in Path(".work").iterdir()] == ["audit-all.lock"]


def test_two_runs_of_one_instance_do_not_meet() -> None:
    with audit() as this:
        with pytest.raises(ValueError, match="is at work in this checkout"):
            with audit():
                pass
        with audit(instance="s1", outs=[Path("other")]) as second:
            Path("other").touch()
            second.account(rows_in=0, kept=0)
        finish(this)


def test_the_summary_says_where_the_rows_went(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="clipline"), audit() as this:
        finish(this)
    assert "audit@all: 3 in, 1 kept, 1 too_small, 1 timeout (" in caplog.text


def python(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**ENV, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code, *args], env=env, capture_output=True, text=True, check=False)


COMMAND = """
from pathlib import Path
from lineage import stage
def main(path: Path) -> None:
    if path.name == "bad":
        raise ValueError(f"{path}: row 7 is wrong")
    if path.name == "bug":
        raise KeyError("x")
stage.command(main)
"""


def test_a_mistake_is_one_line_and_a_bug_is_a_traceback() -> None:
    done = python(COMMAND, "bad")
    assert (done.returncode, done.stderr) == (1, "error: bad: row 7 is wrong\n")
    done = python(COMMAND, "bug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert python(COMMAND, "good").returncode == 0
    assert python(COMMAND).returncode == 2


def test_progress_yields_what_it_was_given() -> None:
    assert list(stage.progress(range(3), label="x", total=3)) == [0, 1, 2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_watch_follows_a_count_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for stderr in (Terminal(), io.StringIO()):
        asked = threading.Event()
        monkeypatch.setattr(sys, "stderr", stderr)
        with stage.watch("pack s1", 2, lambda asked=asked: asked.set() or 1):  # type: ignore[misc]
            assert asked.wait(30)
        assert ("pack s1:  50%" in stderr.getvalue()) == stderr.isatty()
