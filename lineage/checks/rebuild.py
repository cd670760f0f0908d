"""One shard packed again from raw, by the project's own stage, and compared byte for byte."""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lineage import dag, digests, files, records
from lineage.checks.findings import Finding, judged, unchecked
from lineage.checks.shards import RAW, SELECTION, SHARDS, snapshots
from lineage.checks.tree import Tree, read_table

RANDOM = "random"
_COMMAND = "pipelines/repack.py"


def choose(tree: Tree, asked: str, seed: int | None) -> tuple[str, str]:
    """Returns snapshot and shard of SNAPSHOT/SPLIT/NNNNN.tar, or of one drawn at random.

    Raises:
        ValueError: if no manifest here lists it.
    """
    known = []
    for snapshot in snapshots(tree):
        manifest = tree.find(f"{SHARDS}/{snapshot}/manifest.parquet")
        if manifest is not None:
            listed = read_table(manifest, records.MANIFEST, ["shard"])["shard"].to_pylist()
            known += [(snapshot, str(shard)) for shard in sorted(set(listed))]
    if not known:
        raise ValueError(f"no manifest of shards is here in {tree.at}; `dvc pull {SHARDS}`")
    if asked == RANDOM:
        return random.Random(seed).choice(known)
    snapshot, _, shard = asked.removeprefix(f"{SHARDS}/").partition("/")
    if (snapshot, shard) not in known:
        few = ", ".join("/".join(each) for each in known[:4])
        raise ValueError(f"{asked}: no manifest in {tree.at} lists such a shard; it lists {few}")
    return snapshot, shard


def check(tree: Tree, snapshot: str, shard: str) -> Finding:
    """Returns whether packing a shard anew, from the raw data and selection of the DAG, gives the same bytes."""
    path = f"{SHARDS}/{snapshot}/{shard}"
    original = tree.find(path)
    inputs = _inputs(tree, snapshot)
    if original is None or inputs is None:
        return unchecked("rebuild", path, "the shard, its raw data or kept.parquet are not here", "`dvc pull`")
    if not (tree.root / _COMMAND).is_file():
        return unchecked("rebuild", path, f"the project has no {_COMMAND} to pack with", "none")
    with tempfile.TemporaryDirectory(prefix="clipline-rebuild-") as scratch:
        done = _packed(tree, inputs, Path(scratch), snapshot, shard)
        said = done.stderr.strip().splitlines()[-1:] or ["no word"]
        again = Path(scratch) / "out" / shard
        problems = [] if done.returncode == 0 else [f"cannot be packed from raw: {said[0].removeprefix('error: ')}"]
        if not problems and digests.sha256_file(again) != digests.sha256_file(original):
            problems = ["packed from raw it has other bytes"]
    if problems and not _is_same_code(tree, tree.graph.instances[tree.makers[f"{SHARDS}/{snapshot}"]]):
        return unchecked("rebuild", path, f"{problems[0]}; but the code of pack is another now than what ran", "none")
    return judged("rebuild", path, problems, f"`dvc repro --force --single-item pack@{snapshot}`")


def _inputs(tree: Tree, snapshot: str) -> Mapping[str, Path] | None:
    """Returns {path: file} of the raw snapshot and its kept.parquet, None if one of them is not here."""
    raw, kept = f"{RAW}/{snapshot}", f"{SELECTION}/{snapshot}/kept.parquet"
    listing = tree.listing(raw) if raw in tree.outs else None
    if listing is None:
        return None
    found = {path: tree.find(path) for path in (kept, *(f"{raw}/{name}" for name in listing))}
    here = {path: file for path, file in found.items() if file is not None}
    return here if len(here) == len(found) else None


def _packed(
    tree: Tree, inputs: Mapping[str, Path], scratch: Path, snapshot: str, shard: str
) -> subprocess.CompletedProcess[str]:
    for path, file in inputs.items():
        (scratch / path).parent.mkdir(parents=True, exist_ok=True)
        (scratch / path).symlink_to(file.resolve())
    files.write_bytes(scratch / "params.yaml", tree.at.read("params.yaml") or b"")
    places = (f"{RAW}/{snapshot}", f"{SELECTION}/{snapshot}/kept.parquet", shard, ".")
    return subprocess.run(
        [sys.executable, "-m", "pipelines.repack", *places],
        cwd=scratch,
        env={**os.environ, "PYTHONPATH": str(tree.root)},
        capture_output=True,
        text=True,
        check=False,
    )


def _is_same_code(tree: Tree, instance: dag.Instance) -> bool:
    """Returns whether the code that packed is the code that is on disk now."""
    code = {path: md5 for path, md5 in instance.deps.items() if path.endswith(".py")}
    return all((tree.root / path).is_file() and tree.md5(tree.root / path) == md5 for path, md5 in code.items())
