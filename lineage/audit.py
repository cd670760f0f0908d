"""Stage audit: the index that questions about pairs and models are answered from, and the checked graph of the runs.

pairs.parquet has one row per verdict, exposures.parquet one per (model, pair), graph.json the stage instances with
their counts and the edges between them. Nothing here knows a clock, a commit or an environment.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lineage import digests, edges, files, params, reasons, records, stage

PAIRS = pa.schema(
    [("snapshot", pa.string()), ("uid", pa.string()), ("kept", pa.bool_()), ("reason", pa.string())]
    + [("rule", pa.string()), ("duplicate_of", pa.string()), ("duplicate_of_snapshot", pa.string())]
    + [("split", pa.string()), ("shard", pa.string())]
)
AGGREGATES = ("screen", "scorer", "select", "dataset", "index", "compare")
"""Stages with one instance, recorded as `all`."""
SCORER = "scorer"
"""The model that scores pairs: trained before select, on rows that need not be kept."""
EXPOSURES = pa.schema([("model", pa.string()), *records.EXPOSURE])


def instances() -> dict[str, list[str]]:
    """Returns {stage: its instances} of every stage but audit, as the params list them."""
    snapshots, sets = params.names("snapshots"), params.names("sets")
    models = [f"{objective}-{seed}" for objective in params.names("objectives") for seed in params.seeds()]
    by_stage = dict.fromkeys(("source", "download", "measure", "embed", "pack"), snapshots)
    by_stage |= {name: ["all"] for name in AGGREGATES}
    return {**by_stage, "benchmarks": sets, "embed_tests": sets, "train": models, "evaluate": models}


def pairs(snapshot: str, verdicts: pa.Table, kept: pa.Table, manifest: pa.Table) -> pa.Table:
    """Returns the rows of one snapshot as PAIRS, sorted by uid: each verdict with its place in the shards.

    Raises:
        ValueError: if verdicts, kept and manifest do not tell of the same rows, naming snapshot and uid.
    """
    uids = verdicts["uid"].filter(verdicts["keep"])
    _check_same(snapshot, "verdicts.parquet keeps", uids, "kept.parquet", kept["uid"])
    _check_same(snapshot, "kept.parquet", kept["uid"], "the shards' manifest", manifest["uid"])
    for name, table in (("verdicts", verdicts), ("kept", kept), ("manifest", manifest)):
        _check_unique(f"{snapshot}/{name}.parquet", table["uid"])
    chosen = kept.select(["uid", "split"]).rename_columns(["uid", "chosen"])
    placed = manifest.select(["uid", "split", "shard"]).join(chosen, "uid")
    moved = placed.filter(pc.not_equal(placed["split"], placed["chosen"]))
    if moved.num_rows:
        raise ValueError(f"{snapshot}: {moved['uid'][0]} is packed into another split than select chose")
    joined = verdicts.join(placed.drop_columns(["chosen"]), "uid").sort_by("uid")
    columns = {name: joined[name] for name in PAIRS.names if name in joined.column_names}
    names = pa.array([snapshot] * joined.num_rows, pa.string())
    return pa.table({**columns, "snapshot": names, "kept": joined["keep"]}).select(PAIRS.names).cast(PAIRS)


def exposures(model: str, exposure: pa.Table, index: pa.Table, inherited: pa.Table | None = None) -> pa.Table:
    """Returns one model's exposures as EXPOSURES, sorted by (snapshot, uid).

    Args:
        model: name of the model.
        exposure: its exposure.parquet.
        index: the PAIRS of every snapshot.
        inherited: its inherited.parquet, where it started from another model: what that one saw need be kept no more.

    Raises:
        ValueError: if the model says it saw a pair that is not kept (the scorer: that was never fetched well), names
            a pair twice, or saw one less often than the model it started from.
    """
    keys = ["snapshot", "uid"]
    strangers = exposure.join(index.filter(_open_to(model, index)).select(keys), keys, join_type="left anti")
    if inherited is not None:
        _check_inherited(model, exposure, inherited)
        strangers = strangers.join(inherited.select(keys), keys, join_type="left anti")
    if strangers.num_rows:
        first = strangers.sort_by([(key, "ascending") for key in keys]).slice(0, 1).to_pylist()[0]
        raise ValueError(f"{model}: exposure.parquet names {first['snapshot']}/{first['uid']}, not a pair it could see")
    if exposure.group_by(keys).aggregate([]).num_rows != exposure.num_rows:
        raise ValueError(f"{model}: exposure.parquet names a pair twice")
    names = pa.array([model] * exposure.num_rows, pa.string())
    ordered = exposure.sort_by([(key, "ascending") for key in keys])
    return ordered.add_column(0, "model", names).select(EXPOSURES.names).cast(EXPOSURES)


def graph(provenance: Mapping[str, Any], file_digests: Mapping[str, str]) -> dict[str, Any]:
    """Returns nodes (stage instances with counts), roots (what no stage makes) and edges, every edge checked.

    Args:
        provenance: {path of a provenance file: its content}.
        file_digests: {path of a provenance file: its md5}; such a file is an out of its stage instance too.

    Raises:
        ValueError: if a parent's digest is not what its producer made, naming both; or if two stages read different
            contents of one root.
    """
    outs, makers, listings = _outs(provenance, file_digests)
    roots: dict[str, tuple[str, str]] = {}
    found: list[dict[str, Any]] = []
    for content in provenance.values():
        reader = _name(content)
        for path, digest in sorted(content["parents"].items()):
            producers = sorted({makers[out] for out in edges.producing(path, outs)})
            if producers:
                _check_parent(reader, path, digest, producers, edges.digest_from(path, outs, listings.get))
            else:
                _check_root(roots, reader, path, digest)
            found.append({"reader": reader, "path": path, "digest": digest, "producers": producers})
    shown = ("stage", "instance", "counts")
    nodes = {_name(content): {key: content[key] for key in shown} for content in provenance.values()}
    ordered = sorted(found, key=lambda edge: (edge["reader"], edge["path"]))
    return {"nodes": nodes, "roots": {path: digest for path, (digest, _) in roots.items()}, "edges": ordered}


def main(selection: Path, shards: Path, models: Path, provenance: Path, out: Path, record: Path) -> None:
    """Joins what every stage recorded into one index of pairs and exposures, and checks the graph of the runs."""
    listed = instances()
    folders = [provenance / name for name in listed]
    trained = [*listed["train"], SCORER]
    lists = {"snapshots": listed["pack"], "models": trained, "sets": listed["benchmarks"]}
    deps = [selection, shards, models, *folders]
    _prune(listed, {selection: listed["pack"], shards: listed["pack"], models: trained}, provenance)
    with stage.run("audit", "all", params=lists, deps=deps, outs=[out], provenance=record) as this:
        index = _read_pairs(listed["pack"], selection, shards)
        made = this.scratch / "out"
        records.write_table(index, made / "pairs.parquet")
        by_model = [_read_exposures(models, model, index) for model in trained]
        seen = pa.concat_tables(by_model or [EXPOSURES.empty_table()])
        records.write_table(seen, made / "exposures.parquet")
        described = _read_provenance(listed, provenance)
        checked = graph(described, {path: digests.md5_file(Path(path)) for path in described})
        files.write_json(made / "graph.json", checked)
        figures = {"exposures": seen.num_rows, "runs": len(checked["nodes"]), "edges": len(checked["edges"])}
        this.account(**_account(index), **figures)
        this.publish(made, out)


def _open_to(model: str, index: pa.Table) -> pa.ChunkedArray:
    """Returns which pairs of the index a model may have seen."""
    if model != SCORER:
        return index["kept"]
    return pc.invert(pc.is_in(index["reason"], pa.array([*reasons.DOWNLOAD, *reasons.MEASURE])))


def _account(index: pa.Table) -> dict[str, Any]:
    dropped = index.filter(pc.invert(index["kept"])).group_by("reason").aggregate([("uid", "count")])
    counts = dict(zip(dropped["reason"].to_pylist(), dropped["uid_count"].to_pylist(), strict=True))
    return {"rows_in": index.num_rows, "kept": pc.sum(index["kept"]).as_py() or 0, "dropped": counts}


def _prune(listed: Mapping[str, Iterable[str]], data: Mapping[Path, list[str]], provenance: Path) -> None:
    """Removes what the params do not list: DVC would hash it with its folder."""
    for folder, names in {**data, **{provenance / name: list(found) for name, found in listed.items()}}.items():
        stage.prune(folder, names)


def _read_pairs(snapshots: list[str], selection: Path, shards: Path) -> pa.Table:
    tables = []
    for snapshot in snapshots:
        verdicts = records.read_table(selection / snapshot / "verdicts.parquet", records.VERDICTS)
        kept = records.read_table(selection / snapshot / "kept.parquet", records.KEPT)
        manifest = records.read_table(shards / snapshot / "manifest.parquet", records.MANIFEST)
        for reason in pc.unique(verdicts["reason"].filter(pc.invert(verdicts["keep"]))).to_pylist():
            reasons.check(reason)
        tables.append(pairs(snapshot, verdicts, kept, manifest))
    every = pa.concat_tables(tables or [PAIRS.empty_table()])
    return every.sort_by([("snapshot", "ascending"), ("uid", "ascending")])


def _read_exposures(models: Path, model: str, index: pa.Table) -> pa.Table:
    path = models / model / "inherited.parquet"
    inherited = records.read_table(path, records.EXPOSURE) if path.is_file() else None
    exposure = records.read_table(models / model / "exposure.parquet", records.EXPOSURE)
    return exposures(model, exposure, index, inherited)


def _check_inherited(model: str, exposure: pa.Table, inherited: pa.Table) -> None:
    keys = ["snapshot", "uid"]
    both = inherited.join(exposure.rename_columns([*keys, "own"]), keys, join_type="left outer")
    lost = both.filter(pc.less(pc.fill_null(both["own"], 0), both["count"])).sort_by("uid")
    if lost.num_rows:
        first = lost.slice(0, 1).to_pylist()[0]
        raise ValueError(
            f"{model}: exposure.parquet has {first['snapshot']}/{first['uid']} {first['own'] or 0} times, the model it "
            f"started from {first['count']} times"
        )


def _read_provenance(listed: Mapping[str, Iterable[str]], provenance: Path) -> dict[str, Any]:
    paths = sorted(provenance / name / f"{instance}.json" for name, found in listed.items() for instance in found)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: no such provenance file; `dvc repro` makes it")
    return {path.as_posix(): files.read_json(path) for path in paths}


def _outs(
    provenance: Mapping[str, Any], file_digests: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str], dict[str, edges.Listing]]:
    """Returns {out: digest}, {out: stage instance} and {folder out: listing} of everything the stages made."""
    outs = dict(file_digests)
    makers = {path: _name(content) for path, content in provenance.items()}
    listings: dict[str, edges.Listing] = {}
    for content in provenance.values():
        for path, out in content["outs"].items():
            outs[path], makers[path] = out["md5"], _name(content)
            if "files" in out:
                listings[path] = out["files"]
    return outs, makers, listings


def _check_parent(reader: str, path: str, digest: str, producers: list[str], made: str | None) -> None:
    if digest != made:
        raise ValueError(
            f"{path}: {reader} read {digest[:12]}, but {', '.join(producers)} made {(made or 'no listing')[:12]}; "
            "`dvc repro` brings them together"
        )


def _check_root(roots: dict[str, tuple[str, str]], reader: str, path: str, digest: str) -> None:
    known, first = roots.setdefault(path, (digest, reader))
    if known != digest:
        raise ValueError(f"{path}: {reader} read {digest[:12]}, but {first} read {known[:12]}; run `dvc repro`")


def _check_same(snapshot: str, left_name: str, left: Any, right_name: str, right: Any) -> None:
    for name, other, rows, against in ((left_name, right_name, left, right), (right_name, left_name, right, left)):
        alone = rows.filter(pc.invert(pc.is_in(rows, value_set=against.combine_chunks())))
        if len(alone):
            raise ValueError(f"{snapshot}: {name} has {pc.min(alone)}, {other} has not")


def _check_unique(name: str, uids: Any) -> None:
    if len(pc.unique(uids)) != len(uids):
        raise ValueError(f"{name}: a uid stands in it twice")


def _name(content: Mapping[str, Any]) -> str:
    """Returns a stage instance's name as in dvc.lock: an aggregate's is its stage's."""
    name = str(content["stage"])
    return name if name in AGGREGATES else f"{name}@{content['instance']}"


if __name__ == "__main__":
    stage.command(main)
