"""Stage audit: what every model was trained on, by row of the trails, and the checked graph of the runs.

    exposures/MODEL/S.npy           (N,) unsigned: how often the model was trained on row N of data/trail/S
    exposures/MODEL/beyond.parquet  what it saw, through the model it started from, of pairs that are listed no more
    graph.json                      the stage instances with their counts, and the edges between them

Nothing here knows a clock, a commit or an environment.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lineage import digests, edges, files, keys, params, reasons, records, stage

AGGREGATES = ("screen", "scorer", "select", "dataset", "index", "compare")
"""Stages with one instance, recorded as `all`."""
SCORER = "scorer"
"""The model that scores pairs: trained before select, on rows that need not be kept."""
EXPOSURES = "exposures"
BEYOND = "beyond.parquet"

_KEY = ["snapshot", "uid"]
_NEVER_SEEN = pa.array([*reasons.DOWNLOAD, *reasons.MEASURE])


def instances() -> dict[str, list[str]]:
    """Returns {stage: its instances} of every stage but audit, as the params list them."""
    snapshots, sets = params.names("snapshots"), params.names("sets")
    models = [f"{objective}-{seed}" for objective in params.names("objectives") for seed in params.seeds()]
    by_stage = dict.fromkeys(("source", "download", "measure", "embed", "pack", "trail"), snapshots)
    by_stage |= {name: ["all"] for name in AGGREGATES}
    return {**by_stage, "benchmarks": sets, "embed_tests": sets, "train": models, "evaluate": models}


def exposures(
    model: str, exposure: pa.Table, trail: Path, snapshots: Iterable[str], inherited: pa.Table | None = None
) -> tuple[dict[str, npt.NDArray[Any]], pa.Table]:
    """Returns {snapshot: (N,) how often the model was trained on each row of its trail}, and the pairs beyond them.

    Args:
        model: name of the model.
        exposure: its exposure.parquet.
        trail: folder of the trails.
        snapshots: those to tell of.
        inherited: its inherited.parquet, where it started from another model: what that one saw need be kept no more.

    Raises:
        ValueError: if the model says it saw a pair that is not kept (the scorer: that was never fetched well), names
            a pair twice, or saw one less often than the model it started from.
    """
    if exposure.group_by(_KEY).aggregate([]).num_rows != exposure.num_rows:
        raise ValueError(f"{model}: exposure.parquet names a pair twice")
    if inherited is not None:
        _check_inherited(model, exposure, inherited)
    strange, beyond, counts = [exposure.slice(0, 0)], [exposure.slice(0, 0)], {}
    names = list(snapshots)
    listed = pc.is_in(exposure["snapshot"], value_set=pa.array(names, pa.string()))
    for name in names:
        mine = exposure.filter(pc.equal(exposure["snapshot"], name))
        row_n, is_open_N = _rows(trail / name, mine["uid"]), _open_to(model, trail / name)
        is_known_n = row_n >= 0
        counts[name] = _counted(len(is_open_N), row_n[is_known_n], mine["count"].filter(pa.array(is_known_n)))
        beyond.append(mine.filter(pa.array(~is_known_n)))
        is_open_n = np.zeros(len(row_n), np.bool_)
        is_open_n[is_known_n] = is_open_N[row_n[is_known_n]]
        strange.append(mine.filter(pa.array(~is_open_n)))
    beyond.append(exposure.filter(pc.invert(listed)))
    strange.append(beyond[-1])
    _check_strangers(model, pa.concat_tables(strange), inherited)
    return counts, pa.concat_tables(beyond).sort_by([(key, "ascending") for key in _KEY])


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


def main(trail: Path, models: Path, provenance: Path, out: Path, record: Path) -> None:
    """Writes what every model was trained on, and checks the graph of the runs."""
    listed = instances()
    folders = [provenance / name for name in listed]
    trained = [*listed["train"], SCORER]
    lists = {"snapshots": listed["trail"], "models": trained, "sets": listed["benchmarks"]}
    _prune(listed, {trail: listed["trail"], models: trained}, provenance)
    with stage.run("audit", "all", params=lists, deps=[trail, models, *folders], outs=[out], provenance=record) as this:
        made = this.scratch / "out"
        described = _read_provenance(listed, provenance)
        seen = 0
        for model in trained:
            exposure, inherited = _read_exposure(models / model)
            write_exposures(model, exposure, inherited, trail, listed["trail"], made)
            seen += exposure.num_rows
        checked = graph(described, {path: digests.md5_file(Path(path)) for path in described})
        files.write_json(made / "graph.json", checked)
        figures: dict[str, Any] = {"exposures": seen, "runs": len(checked["nodes"]), "edges": len(checked["edges"])}
        told = [content["counts"] for content in described.values() if content["stage"] == "trail"]
        this.account(**_account(told), **figures)
        this.publish(made, out)


def write_exposures(
    model: str, exposure: pa.Table, inherited: pa.Table | None, trail: Path, snapshots: list[str], made: Path
) -> None:
    """Writes what one model saw, as `exposures` returns it, below made/exposures."""
    counts, beyond = exposures(model, exposure, trail, snapshots, inherited)
    for name, count_N in counts.items():
        keys.save_array(count_N, made / EXPOSURES / model / f"{name}.npy")
    records.write_table(beyond, made / EXPOSURES / model / BEYOND)


def _read_exposure(model: Path) -> tuple[pa.Table, pa.Table | None]:
    """Returns a model's exposure, and what it inherited from the model it started from."""
    path = model / "inherited.parquet"
    inherited = records.read_table(path, records.EXPOSURE) if path.is_file() else None
    return records.read_table(model / "exposure.parquet", records.EXPOSURE), inherited


def _rows(trail: Path, uids: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Returns (n,) the row of each uid in a trail, -1 where it has none."""
    known, key_n = keys.load(trail, "uid"), keys.unhex(uids)
    if not len(known):
        return np.full(len(key_n), -1)
    place_n = np.minimum(np.searchsorted(known.key_N, key_n), len(known) - 1)
    return np.where(known.key_N[place_n] == key_n, known.row_N[place_n].astype(np.int64), -1)


def _open_to(model: str, trail: Path) -> npt.NDArray[np.bool_]:
    """Returns (N,) which rows of a trail a model may have seen."""
    if model != SCORER:
        kept: npt.NDArray[np.bool_] = records.read_table(trail / "pairs.parquet", columns=["kept"])["kept"].to_numpy()
        return kept
    reason = records.read_table(trail / "pairs.parquet", columns=["reason"])["reason"]
    fetched: npt.NDArray[np.bool_] = pc.invert(pc.is_in(reason, value_set=_NEVER_SEEN)).to_numpy()
    return fetched


def _counted(num_rows: int, row_n: npt.NDArray[np.int64], count: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Returns (num_rows,) counts by row, in the smallest unsigned form that holds them."""
    count_n = count.to_numpy()
    count_N = np.zeros(num_rows, np.min_scalar_type(int(count_n.max(initial=0))))
    count_N[row_n] = count_n
    return count_N


def _check_strangers(model: str, strange: pa.Table, inherited: pa.Table | None) -> None:
    if inherited is not None:
        strange = strange.join(inherited.select(_KEY), _KEY, join_type="left anti")
    if strange.num_rows:
        first = strange.sort_by([(key, "ascending") for key in _KEY]).slice(0, 1).to_pylist()[0]
        raise ValueError(f"{model}: exposure.parquet names {first['snapshot']}/{first['uid']}, not a pair it could see")


def _account(told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the sum of the trails' accounts."""
    rows_in, kept = 0, 0
    dropped: Counter[str] = Counter()
    for counts in told:
        rows_in, kept = rows_in + counts["rows_in"], kept + counts["kept"]
        dropped.update(counts["dropped"])
    return {"rows_in": rows_in, "kept": kept, "dropped": dropped}


def _prune(listed: Mapping[str, Iterable[str]], data: Mapping[Path, list[str]], provenance: Path) -> None:
    """Removes what the params do not list: DVC would hash it with its folder."""
    for folder, names in {**data, **{provenance / name: list(found) for name, found in listed.items()}}.items():
        stage.prune(folder, names)


def _check_inherited(model: str, exposure: pa.Table, inherited: pa.Table) -> None:
    both = inherited.join(exposure.rename_columns([*_KEY, "own"]), _KEY, join_type="left outer")
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


def _name(content: Mapping[str, Any]) -> str:
    """Returns a stage instance's name as in dvc.lock: an aggregate's is its stage's."""
    name = str(content["stage"])
    return name if name in AGGREGATES else f"{name}@{content['instance']}"


if __name__ == "__main__":
    stage.command(main)
