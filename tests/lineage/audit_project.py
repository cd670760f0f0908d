"""What all stages before audit leave, in the shape of the real folders, small."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lineage import digests, files, records, trail

PARAMS = "snapshots: [s1, s2]\nobjectives: [clip]\nseeds: [0, 1]\nsets: [emoji]\n"
ARGS = [Path(path) for path in "data/trail models provenance data/audit provenance/audit/all.json".split()]

DATASET_DEPS = ["data/shards", "data/selection", "provenance/source", "provenance/pack"]


def uid(number: int) -> str:
    return f"{number:032x}"


def verdict(number: int, reason: str = "kept", **more: Any) -> dict[str, Any]:
    return {"uid": uid(number), "keep": reason == "kept", "reason": reason, **more}


def place(number: int, split: str = "train", shard: str = "train/00000.tar") -> dict[str, Any]:
    return {"uid": uid(number), "split": split, "shard": shard, "offset": 0, "length": 1, "sha256": "0" * 64}


def signal(number: int, **more: Any) -> dict[str, Any]:
    """Returns the signals of a pair: its hosts alternate, and number 2 has no picture."""
    host = f"h{number % 2}.test"
    hashes = {"sha256": digests.sha256_bytes(b"picture %d" % number), "phash": f"{number:016x}"} if number != 2 else {}
    where = {"host": host, "host_sha256": digests.sha256_bytes(host.encode())}
    return {"uid": uid(number), "url_sha256": digests.sha256_bytes(b"url %d" % number), **where, **hashes, **more}


VERDICTS = {
    "s1": [verdict(1), verdict(2, "too_small", rule="min_side", value="3", threshold="8"), verdict(3)],
    "s2": [
        verdict(1, "seen_before"),
        verdict(4, "duplicate_exact", duplicate_of=uid(3), duplicate_of_snapshot="s1"),
        verdict(5),
    ],
}
MANIFESTS = {"s1": [place(1), place(3, "val", "val/00000.tar")], "s2": [place(5)]}


def write(path: str, rows: list[dict[str, Any]], schema: Any) -> None:
    records.write_table(records.rows_table(rows, schema), Path(path))


def record(stage: str, instance: str, parents: list[str], outs: list[str]) -> None:
    content = {
        "stage": stage,
        "instance": instance,
        "parents": {path: digests.dvc_digest(Path(path)) for path in parents},
        "params": {},
        "counts": {"rows_in": 1, "kept": 1, "dropped": {}, "failed": {}},
        "outs": {path: digests.described(Path(path)) for path in outs},
    }
    files.write_json(Path("provenance") / stage / f"{instance}.json", content)


def text(path: str, content: str = "x") -> None:
    files.write_text(Path(path), content)


def lay_down() -> None:
    """What all stages before audit leave, in the shape of DESIGN, small."""
    Path("params.yaml").write_text(PARAMS)
    for snapshot in ("s1", "s2"):
        text(f"data/lists/{snapshot}")
        for name in ("source", "raw"):
            text(f"data/{name}/{snapshot}/{snapshot}.txt", name)
        signals = [signal(int(row["uid"], 16)) for row in VERDICTS[snapshot]]
        write(f"data/signals/{snapshot}/00000.parquet", signals, records.SIGNALS)
        record("source", snapshot, [f"data/lists/{snapshot}"], [f"data/source/{snapshot}"])
        record("download", snapshot, [f"data/source/{snapshot}"], [f"data/raw/{snapshot}"])
        record("measure", snapshot, [f"data/raw/{snapshot}"], [f"data/signals/{snapshot}"])
        write(f"data/selection/{snapshot}/verdicts.parquet", VERDICTS[snapshot], records.VERDICTS)
        chosen = [{"uid": row["uid"], "split": row["split"]} for row in MANIFESTS[snapshot]]
        write(f"data/selection/{snapshot}/kept.parquet", chosen, records.KEPT)
        write(f"data/shards/{snapshot}/manifest.parquet", MANIFESTS[snapshot], records.MANIFEST)
    text("data/sets/emoji/set.json")
    text("data/benchmarks/emoji/classes.json")
    record("benchmarks", "emoji", ["data/sets/emoji"], ["data/benchmarks/emoji"])
    record("select", "all", ["data/signals", "data/benchmarks"], ["data/selection"])
    for snapshot in ("s1", "s2"):
        deps = [f"data/raw/{snapshot}", f"data/selection/{snapshot}/kept.parquet"]
        record("pack", snapshot, deps, [f"data/shards/{snapshot}"])
        lay_down_trail(snapshot)
    for stage, out in (("screen", "data/screen"), ("scorer", "models/scorer"), ("index", "data/index")):
        text(f"{out}/{stage}.txt")
        record(stage, "all", [], [out])
    write("models/scorer/exposure.parquet", [{"snapshot": "s1", "uid": uid(2), "count": 3}], records.EXPOSURE)
    record("scorer", "all", ["data/screen"], ["models/scorer"])
    for stage, instance, out in (
        *(("embed", name, f"data/embeddings/{name}") for name in ("s1", "s2")),
        ("embed_tests", "emoji", "data/test_embeddings/emoji"),
    ):
        text(f"{out}/rows.txt")
        record(stage, instance, ["models/scorer"], [out])
    text("data/dataset/root.json")
    record(
        "dataset", "all", ["data/shards", "data/selection", "provenance/source", "provenance/pack"], ["data/dataset"]
    )
    for model, counts in (("clip-0", [(1, 4), (3, 0)]), ("clip-1", [(1, 2)])):
        seen = [{"snapshot": "s1", "uid": uid(number), "count": count} for number, count in counts]
        write(f"models/{model}/exposure.parquet", seen, records.EXPOSURE)
        record("train", model, ["data/dataset/root.json", "data/shards"], [f"models/{model}"])
        text(f"results/{model}/metrics.json", model)
        record("evaluate", model, [f"models/{model}", "data/benchmarks/emoji"], [f"results/{model}"])
    text("report/index.html")
    record("compare", "all", ["results"], ["report"])


def lay_down_trail(snapshot: str) -> None:
    """Makes the trail of a snapshot by the stage itself."""
    shards = Path("data/shards") / snapshot / "manifest.parquet"
    out, record_path = Path("data/trail") / snapshot, Path(f"provenance/trail/{snapshot}.json")
    trail.main(Path("data/signals") / snapshot, Path("data/selection") / snapshot, shards, out, record_path)


def edit(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    content = files.read_json(Path(path))
    change(content)
    files.write_json(Path(path), content)


def outputs() -> dict[str, bytes]:
    """Returns {path: content} of what audit made."""
    made = Path("data/audit")
    return {str(path.relative_to(made)): path.read_bytes() for path in sorted(made.rglob("*")) if path.is_file()}
