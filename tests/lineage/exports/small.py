"""A small project as a checkout has it: dvc.yaml, a lock of what lies there, a cache, run records, one commit."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from lineage import digests, files, records, runs
from pipelines import cards
from tests.lineage.conftest import call, commit

STARTED = 1_790_000_000.5
CAPTION, URL = "a red fox", "http://pictures.example/fox.png"
METRICS = {"category": {"novel": {"members": {"top_1": {"value": 0.5, "chance": 0.1, "n": 3}}}}}
UNATTESTED = "train@clip-1"
VERSIONS = {"numpy": "1.26.4", "torch": "2.0"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"

DVC_YAML: dict[str, Any] = {
    "source": (["data/lists/s1", "pipelines/source.py"], ["data/source/s1"], ["source"]),
    "scorer": (["data/source/s1"], ["models/scorer"], []),
    "pack": (["data/source/s1/source.parquet", "models/scorer"], ["data/shards/s1"], []),
    "dataset": (["data/shards"], ["data/dataset"], []),
    "train": (
        ["data/dataset/root.json", "data/shards"],
        ["models/${item.objective}-${item.seed}"],
        ["losses.${item.objective}"],
    ),
    "evaluate": (
        ["models/${item.objective}-${item.seed}"],
        ["results/${item.objective}-${item.seed}", "data/predictions/${item.objective}-${item.seed}.parquet"],
        [],
    ),
}
MATRIX = {"objective": "${objectives}", "seed": "${seeds}"}
PARAMS = "objectives: [clip]\nseeds: [0, 1]\nsource: {max_url_chars: 20}\nlosses: {clip: {weight: 1.0}}\n"
ROOT: dict[str, Any] = {
    "digest": "d" * 64,
    "rows": {"train": 1, "val": 0},
    "shards": [{"snapshot": "s1", "split": "train", "shard": "train/0.tar", "rows": 1, "bytes": 7, "sha256": "0" * 64}],
    "snapshots": ["s1"],
}


def lay_down(folder: Path) -> None:
    """Makes the project in an empty folder and commits it; every stage instance but one has a run record."""
    folder.mkdir()
    call(folder, "git", "init", "-q", "-b", "main")
    (folder / ".gitignore").write_text(
        "/data/**\n!/data/**/\n!/data/**/*.dvc\n/models\n/results\n/provenance\n/.dvc/cache\n"
    )
    (folder / "requirements.lock").write_text(
        f"# all of it\nnumpy==1.26.4 --hash=sha256:{'a' * 64}\nTorch[cpu]==2.14.1\n"
    )
    (folder / "params.yaml").write_text(PARAMS)
    files.write_text(folder / "pipelines" / "source.py", "")
    _lay_outs(folder)
    stages = {name: _stage(name, *wiring) for name, wiring in DVC_YAML.items()}
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    locked: dict[str, Any] = {}
    for name, (deps, outs, params) in DVC_YAML.items():
        for seed in "01" if name in ("train", "evaluate") else "":
            filled = [
                [path.replace("${item.objective}-${item.seed}", f"clip-{seed}") for path in kind]
                for kind in (deps, outs)
            ]
            locked[f"{name}@clip-{seed}"] = _run(
                folder, name, f"clip-{seed}", filled[0], filled[1], ["losses.clip"] * bool(params)
            )
        if name not in ("train", "evaluate"):
            locked[name] = _run(folder, name, "all", deps, outs, params)
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": locked}))
    listed = folder / "data" / "lists" / "s1"
    out = {"md5": _cache(folder, listed), "path": "s1"}
    (folder / "data" / "lists" / "s1.dvc").write_text(yaml.safe_dump({"outs": [out]}))
    commit(folder, "one snapshot")


def _lay_outs(folder: Path) -> None:
    files.write_text(folder / "data/lists/s1/pairs.csv", f"{URL},{CAPTION}\n")
    row = {"uid": records.uid_of(URL, CAPTION), "url": URL, "caption": CAPTION}
    records.write_table(records.rows_table([row], records.SOURCE), folder / "data/source/s1/source.parquet")
    files.write_text(folder / "data/shards/s1/train/0.tar", CAPTION)
    manifest = records.rows_table([{"uid": row["uid"], "split": "train"}], records.MANIFEST)
    records.write_table(manifest, folder / "data/shards/s1/manifest.parquet")
    files.write_json(folder / "data/dataset/root.json", ROOT)
    files.write_json(folder / "data/dataset/croissant.json", cards.croissant("tiny", "A tiny set.", ROOT, ["CC0"]))
    for model in ("scorer", "clip-0", "clip-1"):
        files.write_text(folder / "models" / model / "open_clip_model.safetensors", model)
        files.write_text(folder / "models" / model / "tiny.json", "{}")
    for model in ("clip-0", "clip-1"):
        files.write_json(folder / "results" / model / "metrics.json", {"sets": {"emoji": METRICS}})
        records.write_table(manifest, folder / "data/predictions" / f"{model}.parquet")


def _stage(name: str, deps: list[str], outs: list[str], params: list[str]) -> dict[str, Any]:
    is_many = name in ("train", "evaluate")
    key = "${item.objective}-${item.seed}" if is_many else "all"
    made = {"cmd": f"run {name}", "deps": deps, "outs": [*outs, f"provenance/{name}/{key}.json"], "params": params}
    return {**made, "matrix": MATRIX} if is_many else made


def _run(
    folder: Path, stage: str, instance: str, deps: list[str], outs: list[str], params: list[str]
) -> dict[str, Any]:
    """Returns the lock entry of an instance; writes its provenance and, but for one, its run record."""
    counts = {"rows_in": 2, "kept": 1, "dropped": {"too_small": 1}, "failed": {}, "licenses": {"CC0": {URL: 1}}}
    provenance = f"provenance/{stage}/{instance}.json"
    files.write_json(folder / provenance, {"stage": stage, "instance": instance, "counts": counts})
    made = {path: _cache(folder, folder / path) for path in (*outs, provenance)}
    read = {path: digests.dvc_digest(folder / path) for path in deps}
    if f"{stage}@{instance}" != UNATTESTED:
        record: dict[str, Any] = {"stage": stage, "instance": instance, "outs": made, "code": "c" * 64}
        record |= {"deps": {path: digest for path, digest in read.items() if path.partition(".")[2] != "py"}}
        record |= {"started": STARTED + len(stage), "seconds": 2.25, "python": "3.11.7", "commit": COMMIT}
        runs.append(stage, {**record, "dirty": False, "versions": VERSIONS}, folder / "runs")
    sections: dict[str, dict[str, Any]] = {
        "source": {"source": {"max_url_chars": 20}},
        "losses.clip": {"losses.clip": {"weight": 1.0}},
    }
    ran = {key: value for section in params for key, value in sections[section].items()}
    entries = [
        [{"path": path, "md5": md5, "size": 7, "nfiles": 2} for path, md5 in kind.items()] for kind in (read, made)
    ]
    locked = {"cmd": f"run {stage}", "deps": entries[0], "outs": entries[1]}
    return {**locked, "params": {"params.yaml": ran}} if ran else locked


def held(folder: Path, path: str) -> Path:
    """Returns where the cache holds a file of the project."""
    return _held(folder, digests.md5_file(folder / path))


def _cache(folder: Path, path: Path) -> str:
    """Puts a file or folder into DVC's cache; returns its digest."""
    digest = digests.dvc_digest(path)
    inside = [file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else [path]
    for file in inside:
        place = _held(folder, digests.md5_file(file))
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    if path.is_dir():
        place = _held(folder, digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(digests.folder_listing(path)))
    return digest


def _held(folder: Path, digest: str) -> Path:
    return folder / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
