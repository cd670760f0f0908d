"""A small DVC project, run for real: the shape of ours with stages that only join text files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lineage import verify_project

ENV = {
    **os.environ,
    "DVC_NO_ANALYTICS": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
}

JOIN = """import sys, pathlib
out, record, *deps = map(pathlib.Path, sys.argv[1:])
files = [p for d in deps for p in (sorted(d.rglob("*")) if d.is_dir() else [d]) if p.is_file() and p.name[0] != "."]
text = "".join(p.read_text() for p in files)
for target in (out / "kept.txt", out / "t\\u00efef" / "n\\u00e9sted" / "rest.txt"):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text + target.name)
record.parent.mkdir(parents=True, exist_ok=True)
record.write_text(str(len(files)))
"""

STAGES = """stages:
  source:
    matrix: {snapshot: "${snapshots}"}
    cmd: PYTHON code/join.py data/source/${item.snapshot} provenance/source/${item.snapshot}.json
      data/lists/${item.snapshot}
    deps: ["data/lists/${item.snapshot}", code/join.py]
    params: [source]
    outs: ["data/source/${item.snapshot}", "provenance/source/${item.snapshot}.json"]
  select:
    cmd: >
      PYTHON code/join.py data/selection/${snapshots[0]} provenance/select/all.json data/source
    deps: [data/source, code]
    params: [snapshots]
    outs: [data/selection, provenance/select/all.json]
  pack:
    matrix: {snapshot: "${snapshots}"}
    cmd: PYTHON code/join.py data/shards/${item.snapshot} provenance/pack/${item.snapshot}.json
      data/source/${item.snapshot} data/selection/${snapshots[0]}/kept.txt
    deps: ["data/source/${item.snapshot}", "data/selection/${snapshots[0]}/kept.txt", code/join.py]
    outs: ["data/shards/${item.snapshot}", "provenance/pack/${item.snapshot}.json"]
  train:
    matrix: {objective: "${objectives}", seed: "${seeds}"}
    cmd: PYTHON code/join.py models/${item.objective}-${item.seed}
      provenance/train/${item.objective}-${item.seed}.json data/shards provenance/pack
    deps: [data/shards, provenance/pack, "data/selection/${snapshots[0]}/tïef"]
    params: ["losses.${item.objective}", seeds]
    outs:
      - models/${item.objective}-${item.seed}: {cache: true}
      - provenance/train/${item.objective}-${item.seed}.json
"""

PARAMS = """snapshots: [{snapshots}]
objectives: [clip, cyclip]
seeds: [0]
source: {{rows: 1}}
losses: {{clip: {{weight: 1.0}}, cyclip: {{weight: 0.5}}}}
"""


def call(folder: Path, *args: str) -> str:
    """Runs a command in a folder and returns what it says; a failure shows all of it."""
    done = subprocess.run(args, cwd=folder, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{args}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def dvc(folder: Path, *args: str) -> str:
    return call(folder, sys.executable, "-m", "dvc", *args)


def commit(folder: Path, message: str) -> str:
    """Commits everything; returns the commit."""
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-q", "-m", message)
    return call(folder, "git", "rev-parse", "HEAD")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with two commits: one snapshot, then two."""
    folder = tmp_path_factory.mktemp("template") / "project"
    (folder / "code").mkdir(parents=True)
    call(folder, "git", "init", "-q", "-b", "main")
    dvc(folder, "init", "-q")
    dvc(folder, "config", "core.analytics", "false")
    (folder / ".dvcignore").write_text("**/.gitignore\n__pycache__\n*.pyc\n")
    (folder / "code" / "join.py").write_text(JOIN, encoding="utf-8")
    (folder / "dvc.yaml").write_text(STAGES.replace("PYTHON", sys.executable), encoding="utf-8")
    for number, snapshots in enumerate(["s1", "s1, s2"], 1):
        listed = folder / "data" / "lists" / f"s{number}"
        listed.mkdir(parents=True)
        (listed / "lïst.csv").write_text(f"url{number}\n")
        (folder / "params.yaml").write_text(PARAMS.format(snapshots=snapshots))
        dvc(folder, "add", f"data/lists/s{number}")
        dvc(folder, "repro")
        commit(folder, f"snapshot {number}")
    return folder


@pytest.fixture
def pristine(template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project itself, to read only; the current folder is its root."""
    monkeypatch.chdir(template)
    return template


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project to break; the current folder is its root."""
    folder = tmp_path / "project"
    shutil.copytree(template, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of real stages, to read only."""
    return verify_project.build(tmp_path_factory.mktemp("real"))


@pytest.fixture
def victim(real: Path, tmp_path: Path) -> Path:
    """A copy of it to tamper with; no file of it is a link to another's content."""
    folder = tmp_path / "project"
    shutil.copytree(real, folder, symlinks=True)
    assert all(path.stat().st_nlink == 1 for path in folder.rglob("*") if path.is_file())
    return folder
