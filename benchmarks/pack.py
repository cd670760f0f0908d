"""Stage pack against `tar` copying the same bytes.

    python benchmarks/pack.py [--rows 100000] [--rounds 3]

`tar` copies as a shell does: out of the raw shards to files, and the files of the kept pairs, named in lists made
before, into as many new shards. Beside it stands the second half alone, which reads no shard. Neither checks anything;
the stage checks every picture's sha256 on reading and again in what it wrote. The pictures and captions packed must be
the same ones.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from functools import partial
from pathlib import Path

import contest
import numpy as np
import pyarrow as pa
import scratch_project
import synthetic
from contest import Contender, Heat

sys.path.insert(0, str(contest.ROOT))
from lineage import files, records, stage

_ROWS_PER_SHARD = 1000
_KEPT_FRACTION, _VAL_FRACTION = 0.9, 0.05
_PACK = """
for list in lists/*
do tar --create --format=ustar --directory files --file "tar/${list##*/}" --files-from "$list"
done
"""
_UNPACK = """
for shard in project/data/raw/s1/*.tar
do tar --extract --directory files --file "$shard"
done
"""


def main() -> None:
    """Measures."""
    options = contest.parser(__doc__, rows=100_000, rounds=3).parse_args()
    root = Path(tempfile.mkdtemp(prefix="pack"))
    try:
        project = make_project(root, options.rows, options.workers)
        runs = contest.hold(contenders(project, options.workers), options.rounds)
        size = sum(path.stat().st_size for path in (root / "tar").iterdir())
    finally:
        shutil.rmtree(root)
    rows = round(options.rows * _KEPT_FRACTION)
    heat = Heat(title="pack", rows=rows, runs=runs, goal="at most 1.5 times tar")
    facts = {"pictures and captions": "equal", "mib": round(size / 2**20), "workers": options.workers}
    contest.report("pack", [heat], facts, options.results)


def make_project(root: Path, num_rows: int, workers: int) -> scratch_project.Project:
    """Returns a project with raw shards and a selection, and beside it what tar needs."""
    project = scratch_project.Project(root)
    project.change({"snapshots": ["s1"], "pack": {"rows_per_shard": _ROWS_PER_SHARD}})
    album = synthetic.make_album(root / "album", num_rows, workers)
    table = synthetic.source_table(range(num_rows), synthetic.example_url)
    synthetic.write_raw(table, album, project.data / "raw/s1", _ROWS_PER_SHARD)
    shutil.rmtree(root / "album")
    kept = choose(table["uid"].to_pylist())
    records.write_table(kept, project.data / "selection/s1/kept.parquet")
    key_of = dict(zip(table["uid"].to_pylist(), map(synthetic.extension, table["number"].to_pylist()), strict=True))
    write_lists(root / "lists", kept, key_of)
    _clear(root / "files")
    subprocess.run(["sh", "-c", _UNPACK], cwd=root, check=True)
    return project


def choose(uids: list[str]) -> pa.Table:
    """Returns kept.parquet of nine pairs in ten."""
    random = np.random.default_rng(4)
    chosen = np.sort(random.permutation(len(uids))[: round(len(uids) * _KEPT_FRACTION)])
    splits = np.where(random.random(len(chosen)) < _VAL_FRACTION, "val", "train")
    return pa.table({"uid": pa.array(uids).take(pa.array(chosen)), "split": splits}, schema=records.KEPT)


def write_lists(folder: Path, kept: pa.Table, extension_of: dict[str, str]) -> None:
    """Writes the members of each new shard, a name a line, as tar reads them."""
    for split in ("train", "val"):
        uids = [row["uid"] for row in kept.to_pylist() if row["split"] == split]
        for number, start in enumerate(range(0, len(uids), _ROWS_PER_SHARD)):
            chosen = uids[start : start + _ROWS_PER_SHARD]
            names = [f"{uid}.{kind}" for uid in chosen for kind in (extension_of[uid], "json", "txt")]
            files.write_text(folder / f"{split}-{number:05d}.tar", "".join(f"{name}\n" for name in names))


def contenders(project: scratch_project.Project, workers: int) -> list[Contender]:
    """Returns tar and the stage, each held to the same members."""
    root = project.root
    made: list[str] = []

    def compare(folder: Path) -> None:
        made.append(members_digest(folder))
        if len(set(made)) > 1:
            sys.exit(f"{folder}: other members than tar's")

    def by_tar(name: str, script: str, *folders: str) -> Contender:
        def clear() -> None:
            for folder in folders:
                _clear(root / folder)

        command = ["sh", "-e", "-c", script]
        return Contender(name=name, command=command, folder=root, prepare=clear, finish=partial(compare, root / "tar"))

    def by_stage(name: str, num_workers: int) -> Contender:
        prepare, finish = partial(project.run_on, num_workers), partial(compare, project.data / "shards/s1")
        return project.contender("pack", "s1", name, prepare=prepare, finish=finish)

    made_by_stage = [by_stage("stage pack, 1 process", 1)]
    if workers > 1:
        made_by_stage.append(by_stage(f"stage pack, {workers} processes", workers))
    return [
        by_tar("tar, from shards to shards", _UNPACK + _PACK, "files", "tar"),
        by_tar("tar, from files to shards", _PACK, "tar"),
        *made_by_stage,
    ]


def members_digest(folder: Path) -> str:
    """Returns a digest of the pictures and captions in the archives below a folder; facts differ, pack adds to them."""
    found = []
    for path in stage.progress(sorted(folder.rglob("*.tar")), label="compare"):
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                if not member.name.endswith(".json"):
                    found.append([member.name, hashlib.sha256(content.read()).hexdigest()])
    return hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()


def _clear(folder: Path) -> None:
    files.remove(folder)
    folder.mkdir()


if __name__ == "__main__":
    main()
