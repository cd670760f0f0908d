"""Stages download, measure, select and pack on a small project, as processes that can be killed at any moment."""

import dataclasses
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lineage import digests, files, records
from tests.builders import PARAMS, make_picture
from tests.pipelines.download_project import DOWNLOAD, ROOT, RUNNER, Project
from tests.pipelines.fault_server import Answer, answer

DAG = ROOT / "dvc.yaml"
ORDER = (
    ("download", "s1"),
    ("download", "s2"),
    ("measure", "s1"),
    ("measure", "s2"),
    ("select", "all"),
    ("pack", "s1"),
    ("pack", "s2"),
)
TARGETS = (("download", "s1"), ("measure", "s1"), ("select", "all"), ("pack", "s1"))
"""Stage instances that are killed."""
NUM_PICTURES = {"s1": 40, "s2": 12}
_SHARDS = {"download": ("raw-*", ".tar"), "measure": ("out", ".parquet"), "pack": ("out", ".tar")}
"""Where in its scratch a stage keeps finished shards, and how their names end."""
_TIMEOUT_S = 400.0


@dataclasses.dataclass
class Chain:
    """A project folder with its store beside it; every stage runs as dvc.yaml says, but without DVC."""

    root: Path

    @property
    def folder(self) -> Path:
        """The project."""
        return self.root / "project"

    @property
    def store(self) -> Path:
        """Its store."""
        return self.root / "store"

    def start(self, stage: str, instance: str) -> subprocess.Popen[bytes]:
        """Returns the stage at work, in a session of its own."""
        words = shlex.split(_entry(stage)["cmd"].replace("${item.snapshot}", instance))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "CLIPLINE_STORE": str(self.store)}
        with (self.root / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable if word == "python" else word for word in words],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, stage: str, instance: str) -> float:
        """Runs the stage to its end and returns how long it took, s."""
        begun = time.monotonic()
        with self.start(stage, instance) as process:
            status = ended_with(process)
        log = (self.root / "log").read_text(errors="replace")
        assert status == 0, f"{stage}@{instance} ended with {status}:\n{log[-3000:]}"
        return time.monotonic() - begun

    def made(self, stage: str, instance: str) -> dict[str, str]:
        """Returns {path: sha256} of everything the stage made."""
        found = {}
        for out in self.outs(stage, instance):
            for path in sorted(out.rglob("*")) if out.is_dir() else [out]:
                if path.is_file():
                    found[path.relative_to(self.folder).as_posix()] = digests.sha256_file(path)
        return found

    def outs(self, stage: str, instance: str) -> list[Path]:
        """Returns what the stage makes: a folder, and its provenance file."""
        return [self.folder / name.replace("${item.snapshot}", instance) for name in _entry(stage)["outs"]]

    def forget(self, stage: str, instance: str) -> None:
        """Takes away what the stage made; of a download, the records too, so that it goes to the web again."""
        for out in self.outs(stage, instance):
            files.remove(out)
        if stage == "download":
            for kind in ("fetch", "consent", "attempts"):
                files.remove(self.store / kind / instance)

    def finished(self, stage: str, instance: str) -> dict[str, tuple[int, int]]:
        """Returns {name: (inode, time)} of the shards that a killed run has finished: those with a receipt."""
        if stage not in _SHARDS:
            return {}
        out, suffix = _SHARDS[stage]
        found = {}
        for scratch in (self.folder / ".work").glob(f"{stage}-{instance}-*"):
            for receipt in (scratch / "receipts").rglob("[a-z0-9]*.*"):
                name = f"{receipt.stem.replace('-', '/')}{suffix}"
                for path in scratch.glob(f"{out}/{name}"):
                    found[name] = _identity(path)
        return found

    def num_receipts(self, stage: str, instance: str) -> int:
        """Returns how many receipts a run has in its scratch; while it runs, folders come and go beneath."""
        roots = [scratch / "receipts" for scratch in (self.folder / ".work").glob(f"{stage}-{instance}-*")]
        names = [name for root in roots for _, _, found in os.walk(root) for name in found]
        return sum(1 for name in names if re.fullmatch(r"[a-z0-9].*\..*", name))

    def identities(self, stage: str, instance: str) -> dict[str, tuple[int, int]]:
        """Returns {name: (inode, time)} of the files a stage published."""
        out = self.outs(stage, instance)[0]
        return {path.relative_to(out).as_posix(): _identity(path) for path in out.rglob("*") if path.is_file()}

    def copy(self, root: Path) -> "Chain":
        """Returns a copy of all of it in another folder."""
        shutil.copytree(self.root, root)
        return Chain(root)


def make_chain(root: Path, urls: dict[str, list[str]]) -> Chain:
    """Returns a project with the sources of two snapshots, whose stages have not run."""
    chain = Chain(root)
    project = Project(chain.folder, chain.store)
    for snapshot, listed in urls.items():
        project.source(snapshot, listed)
    content = {**PARAMS, "snapshots": list(urls), "sets": []}
    content["download"] = DOWNLOAD | {"rows_per_shard": 5, "host_connections": 2}
    content["runner"] = RUNNER | {"num_workers": 2, "download_processes": 2}
    (chain.folder / "params.yaml").write_text(yaml.safe_dump(content))
    for name in ("data/benchmarks", "data/test_embeddings", "data/embeddings"):
        (chain.folder / name).mkdir()
    records.write_table(records.OPTOUTS.empty_table(), chain.folder / "data/optouts.parquet")
    records.write_table(records.SCORES.empty_table(), chain.folder / "data/scores.parquet")
    (chain.folder / "data/concepts.txt").touch()
    return chain


def set_running_mode(chain: Chain, mode: str) -> None:
    """Changes how Beam's workers run: in no stage's params, so that the bytes must stay the same."""
    path = chain.folder / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["runner"]["running_mode"] = mode
    path.write_text(yaml.safe_dump(content))


def run_all(chain: Chain, targets: Sequence[tuple[str, str]]) -> dict[tuple[str, str], float]:
    """Runs stages in order and returns how long each took, s."""
    seconds = {}
    for target in targets:
        if target[0] == "select":
            for snapshot in NUM_PICTURES:
                write_embeddings(chain.folder / "data", snapshot)
        seconds[target] = chain.run(*target)
    return seconds


def write_embeddings(data: Path, snapshot: str) -> None:
    """Writes what stage embed would: a vector for each measured row, here of chance."""
    for path in sorted((data / "signals" / snapshot).glob("*.parquet")):
        table = records.read_table(path, records.SIGNALS, columns=["uid", "error"])
        uids = [row["uid"] for row in table.to_pylist() if row["error"] is None]
        rows = [{"uid": uid, "clip_score": 0.25, "reason": None, "row": row} for row, uid in enumerate(uids)]
        folder = data / "embeddings" / snapshot
        records.write_table(records.rows_table(rows, records.EMBEDDINGS), folder / path.name)
        vectors = np.random.default_rng(len(uids)).normal(size=(len(uids), 8))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
        for kind in ("image", "text"):
            np.save(folder / f"{path.stem}.{kind}.npy", vectors)


def answers() -> dict[str, Answer]:
    """Returns a web of pictures that takes its time; one in nine is not there."""
    pictures = {f"/{number}.png": make_picture(number) for number in range(max(NUM_PICTURES.values())) if number % 9}
    return {path: answer(content, delay_s=0.05) for path, content in pictures.items()}


def ended_with(process: subprocess.Popen[bytes]) -> int:
    """Returns the exit status of a stage; one that does not end in time is killed, and named as such."""
    try:
        return process.wait(_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"it did not end within {_TIMEOUT_S:g} s") from None


def at_work_in(folder: Path, within_s: float = 10.0) -> list[str]:
    """Returns the command lines of the processes that work in a folder and do not end in time."""
    until = time.monotonic() + within_s
    while True:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "cwd").readlink() == folder:
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        left = [line for line in found if line]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.1)


def _entry(stage: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(DAG.read_text())["stages"][stage]
    return found


def _identity(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns
