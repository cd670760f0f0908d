"""benchmarks/flows.py, on the small project: what it says of nothing to do and of one stage to do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows import checkouts
from tests.project import ROOT, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_both_run_the_same_stages_and_leave_the_checkout_as_it_was(base: Project, tmp_path: Path) -> None:
    project = checkouts.copy(base, tmp_path)
    head, records = project.run("git", "rev-parse", "HEAD").stdout, (project.folder / "runs/compare.jsonl").read_bytes()
    words = ["benchmarks/flows.py", "--rounds", "1", "--root", str(project.folder), "--results", str(tmp_path)]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=project.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "flows.json").read_text())
    quiet, changed = found["heats"]
    assert quiet["rows"] == changed["rows"] == len(checkouts.stages(project))
    assert set(quiet["contenders"]) == set(changed["contenders"]) == {"dvc repro", "reproduce"}
    assert found["facts"]["nothing to do, flow that starts its own server, s"] > 0
    assert project.run("git", "rev-parse", "HEAD").stdout == head
    assert (project.folder / "runs/compare.jsonl").read_bytes() == records
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert list((project.folder / ".worktrees").glob("*")) == []
