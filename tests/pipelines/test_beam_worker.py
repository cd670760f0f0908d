"""The embedded runner's worker processes: none outlives the stage (beam_worker), none is waited for when dead."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipelines.processes import descendants, ended

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, *deeds: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.pipelines.lethal_tasks", str(folder), *deeds]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_dead_worker_ends_the_stage_and_the_next_run_goes_on(tmp_path: Path) -> None:
    with start(tmp_path, "well", "well", "well", "die") as process:
        _, told = process.communicate(timeout=300)
        assert process.returncode == 1
    assert told.endswith("error: a worker process died; run the stage again, what is finished is kept\n")
    receipts = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "receipts").glob("*.json")}
    assert "t3.json" not in receipts
    with start(tmp_path, "well", "well", "well", "well") as process:
        process.communicate(timeout=300)
        assert process.returncode == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "receipts").glob("*.json")}
    assert receipts.items() <= after.items()
    assert len(after) == 4


@pytest.mark.slow
def test_workers_die_with_the_stage(tmp_path: Path) -> None:
    with start(tmp_path, "linger", "linger") as process:
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob("*.pid")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        below = descendants(process.pid)
        assert below
        process.kill()
    assert all(ended(pid) for pid in below)
