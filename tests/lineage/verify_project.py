"""A small project with real stages pack, dataset and train behind real roots, three times run, and ways to tamper."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from lineage import files, records
from lineage.checks.findings import Finding, Report
from lineage.verify import verify
from pipelines.selection import exclusion
from tests.builders import RawPair, make_pairs, write_account, write_kept, write_raw
from tests.cyclip_model.conftest import TRAIN
from tests.project import Project, make_project

STAGES = ("pack", "dataset", "train")
ROOTS = ["data/raw/s1", "data/raw/s2", "data/selection"] + [
    f"provenance/{name}" for name in ("source", "download", "measure", "embed", "select")
]
PAIRS = {"s1": make_pairs(12), "s2": make_pairs(9, start=20)}
GAP = {"uid": "f" * 32, "keep": False, "reason": "too_small"}


def build(folder: Path) -> Path:
    """Returns a project that ran with one selection, then with another, then its first stage twice more; 3 commits."""
    made = make_project(folder / "project")
    root = made.folder
    (root / ".gitignore").write_text("__pycache__/\n.work/\n")
    dag = yaml.safe_load((root / "dvc.yaml").read_text())
    stages = {"stages": {name: dag["stages"][name] for name in STAGES}}
    (root / "dvc.yaml").write_text(yaml.safe_dump(stages, sort_keys=False))
    made.params(shrink)
    for snapshot, pairs in PAIRS.items():
        write_raw(root / "data/raw" / snapshot, pairs)
    for lost in (1, 2):
        lay_down(root, {**PAIRS, "s2": PAIRS["s2"][:-lost]})
        made.run("python", "-m", "dvc", "add", "--quiet", *ROOTS)
        made.commit(f"roots {lost}")
        made.repro()
        made.commit(f"reproduced {lost}")
    for _ in range(2):
        made.repro("--force", "--single-item", "pack@s1")
    made.commit("packed again")
    return root


def shrink(content: dict[str, Any]) -> None:
    content["snapshots"], content["objectives"] = list(PAIRS), ["clip"]
    content["pack"]["rows_per_shard"] = 5
    content["train"] = {**TRAIN, "batch_size": 4}


def lay_down(root: Path, kept: dict[str, list[RawPair]]) -> None:
    """Writes what the stages before pack leave: a selection that keeps these pairs, and accounts that join."""
    joined = {}
    for snapshot, pairs in kept.items():
        splits = {pair.uid: "val" if number < 2 else "train" for number, pair in enumerate(pairs)}
        folder = root / "data/selection" / snapshot
        write_kept(folder / "kept.parquet", splits)
        rows = [{"uid": uid, "keep": True, "reason": "kept"} for uid in splits] + [GAP]
        table = records.rows_table(rows, records.VERDICTS)
        records.write_table(table, folder / "verdicts.parquet")
        sides = pa.array([16.0] * table.num_rows, pa.float64())
        records.write_table(pa.table({"uid": table["uid"], "side": sides}), folder / "values.parquet")
        files.write_json(folder / "exclusion.json", exclusion.Tally().report(min_rows=1))
        number = table.num_rows
        for stage in ("source", "download", "measure", "embed"):
            write_account(root / "provenance", stage, snapshot, rows_in=number, kept=number)
        joined[snapshot] = {"rows_in": number, "kept": len(pairs), "dropped": {"too_small": 1}, "failed": {}}
    write_account(root / "provenance", "select", "all", snapshots=joined)


def dvc(root: Path, *args: str) -> None:
    Project(root).run("python", "-m", "dvc", *args)


def relock(root: Path) -> None:
    """Makes dvc.lock agree with whatever is on disk, as a forger would."""
    dvc(root, "commit", "--quiet", "--force")


def replace(path: Path, content: bytes | str) -> None:
    """Writes another content by another file: nothing that shares its blocks changes."""
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    replace(path, bytes(content))


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = files.read_json(path)
    change(content)
    replace(path, files.canonical_json(content))


def edit_table(path: Path, schema: pa.Schema, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    rows = change(records.read_table(path, schema).to_pylist())
    path.unlink()
    records.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def edit_lock(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = yaml.safe_load((root / "dvc.lock").read_text())
    change(content["stages"])
    replace(root / "dvc.lock", yaml.safe_dump(content, sort_keys=False))


def edit_params(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    Project(root).params(change)


def entry(stages: dict[str, Any], name: str, kind: str, path: str) -> dict[str, Any]:
    """Returns the entry of one dep or out in dvc.lock."""
    found: dict[str, Any] = next(each for each in stages[name][kind] if each["path"] == path)
    return found


def lock_at(root: Path, rev: str) -> dict[str, Any]:
    text = subprocess.run(["git", "show", f"{rev}:dvc.lock"], cwd=root, capture_output=True, check=True).stdout
    stages: dict[str, Any] = yaml.safe_load(text)["stages"]
    return stages


def take_from_cache(root: Path, digest: str, target: Path) -> None:
    """Lays down what DVC's cache holds under a digest."""
    held = root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    if not digest.endswith(".dir"):
        target.unlink(missing_ok=True)
        shutil.copyfile(held, target)
        return
    shutil.rmtree(target)
    for each in files.read_json(held):
        (target / each["relpath"]).parent.mkdir(parents=True, exist_ok=True)
        take_from_cache(root, each["md5"], target / each["relpath"])


def found(root: Path, *states: str, rev: str | None = None, shard: str | None = None) -> dict[tuple[str, str], str]:
    """Returns {(check, what): problem} of what verify finds broken, or in other states."""
    report: Report = verify(rev=rev, root=root, shard=shard)
    return by_place(finding for finding in report.findings if finding.state in (states or ("broken",)))


def by_place(findings: Iterable[Finding]) -> dict[tuple[str, str], str]:
    return {(finding.check, finding.what): finding.problem for finding in findings}


def cli(root: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "utf-8", "COLUMNS": "300"}
    command = [sys.executable, "-m", "lineage", "verify", *args]
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)


def counts(text: str) -> tuple[int, ...]:
    """Returns checked, not checkable here, unattested and broken of the closing line."""
    match = re.search(r"(\d+) checked, (\d+) not checkable here, (\d+) unattested, (\d+) broken", text)
    assert match
    return tuple(map(int, match.groups()))
