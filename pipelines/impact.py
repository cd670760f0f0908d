"""What opt-outs touch, before anything is rebuilt, and whether anything of it remains after.

The judgement is that of the rule `opt_out` itself, over the signals of every snapshot; what was kept and who saw it is
read from what stages trail and audit made. `python -m lineage impact` answers the same from the trails alone.
"""

import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage import dag, params, records
from lineage.questions import rows, subjects, who_saw
from lineage.questions.holdings import Holdings
from pipelines import traces
from pipelines.rules.known_pictures import OptOut
from pipelines.selection.rows import Part, Rows, Sources

TOUCHED = pa.schema([(name, pa.string()) for name in ("snapshot", "uid", "by", "sha256")])
"""Pairs that opt-outs name; `by` is the kind of the opt-out that does."""
_TABLES = ("selection/*/kept.parquet", "shards/*/manifest.parquet", "screen/rows.parquet")
_EXPOSURES = "audit/exposures"


def touched(root: Path, optouts: Path) -> pa.Table:
    """Returns TOUCHED of a project: the pairs of its snapshots that a table of opt-outs names, whatever became of them.

    Raises:
        FileNotFoundError: if a snapshot was never measured here, naming the folder.
    """
    sources = Sources(
        optouts=optouts, sets=(), **dict.fromkeys(("scores", "concepts", "benchmarks", "test_embeddings"), optouts)
    )
    rule = OptOut(max_distance=max_distance(root))
    found = [TOUCHED.empty_table()]
    for snapshot in params.names("snapshots", root / "params.yaml"):
        folder = root / "data" / "signals" / snapshot
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: not there; `dvc checkout` brings it, or `dvc repro` makes it")
        for signals in sorted(folder.glob("*.parquet")):
            part = Rows(Part(signals=signals, embeddings=root / "data" / "embeddings" / snapshot), sources)
            by, _ = rule.judge(part)
            named = {"uid": part.text("uid"), "by": by, "sha256": part.text("sha256")}
            table = pa.table({"snapshot": pa.array([snapshot] * len(part), pa.string()), **named})
            found.append(table.filter(pc.is_valid(table["by"])).cast(TOUCHED))
    return pa.concat_tables(found)


def summary(root: Path, named: pa.Table) -> dict[str, Any]:
    """Returns what TOUCHED pairs mean for a project as it stands: kept pairs, shards, and what each model saw of them.

    `copies` counts kept pairs whose bytes equal a touched picture's under another link, which the opt-outs do not name.
    """
    held = Holdings(dag.Revision(root, None), {}, ())
    shards, models = list[str](), dict[str, dict[str, int]]()
    for snapshot, row_n in _rows(held, named):
        found = rows.by_numbers(held.path(f"data/trail/{snapshot}/pairs.parquet"), row_n.tolist(), ["kept", "shard"])
        shards += [f"{snapshot}/{pair['shard']}" for pair in found if pair["kept"]]
        for model in _models(root):
            count_n = who_saw.times(held, model, snapshot, row_n)
            seen = models.setdefault(model, {"pairs": 0, "times": 0})
            seen["pairs"] += int(np.count_nonzero(count_n))
            seen["times"] += int(count_n.sum(dtype=np.int64))
    return {
        "pairs": named.num_rows,
        "by": {row["values"]: row["counts"] for row in pc.value_counts(named["by"]).to_pylist()},
        "kept": len(shards),
        "shards": sorted(set(shards)),
        "models": {model: seen for model, seen in models.items() if seen["times"]},
        "copies": _num_copies(root, named),
    }


def remains(root: Path, named: pa.Table, looked_for: traces.Traces | None = None) -> Iterator[str]:
    """Yields each place of a rebuilt project where something of TOUCHED pairs still stands.

    Looked for by uid and sha256: selections, manifests, every member of every shard, the screen, the index and what
    models saw. Looked for byte by byte: URLs, captions and pictures, in every file of traces.WORKSPACE. Not looked at:
    the store, which is purged once the project is safe, and DVC's cache.
    """
    uids = named["uid"].combine_chunks()
    by_picture = named.filter(pc.is_in(named["by"], value_set=pa.array(["sha256", "phash"])))
    hashes = by_picture["sha256"].combine_chunks().drop_null()
    for pattern in (*_TABLES, "index/metadata/*.parquet"):
        for path in sorted((root / "data").glob(pattern)):
            yield from _in_table(path, uids, hashes)
    for path in sorted((root / "models").glob("*/*.parquet")):
        yield from _in_table(path, uids, hashes)
    yield from _in_exposures(root, named)
    members = set(uids.to_pylist())
    for path in sorted((root / "data" / "shards").glob("*/*/*.tar")):
        yield from _in_shard(path, members)
    if looked_for is not None:
        yield from (f"{path}: {told}" for path, told in traces.search(looked_for, *traces.workspace(root)))


def _models(root: Path) -> list[str]:
    folder = root / "data" / _EXPOSURES
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: not there; `dvc checkout` brings it, or `dvc repro` makes it")
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _rows(held: Holdings, named: pa.Table) -> Iterator[tuple[str, subjects.RowArray]]:
    """Yields (snapshot, rows of its trail) of TOUCHED pairs that are in it."""
    for snapshot in pc.unique(named["snapshot"]).to_pylist():
        uids = named["uid"].filter(pc.equal(named["snapshot"], snapshot)).to_pylist()
        found = [subjects.by_key(held, snapshot, "uid", uid) for uid in uids]
        yield snapshot, np.sort(np.concatenate([np.empty(0, np.uint32), *found]))


def _in_exposures(root: Path, named: pa.Table) -> Iterator[str]:
    held = Holdings(dag.Revision(root, None), {}, ())
    for snapshot, row_n in _rows(held, named):
        for model in _models(root):
            number = int(np.count_nonzero(who_saw.times(held, model, snapshot, row_n)))
            if number:
                yield f"{root}/data/{_EXPOSURES}/{model}/{snapshot}.npy: {number} rows"


def _in_table(path: Path, uids: pa.Array, hashes: pa.Array) -> Iterator[str]:
    schema = pq.read_schema(path)
    for column, values in (("uid", uids), ("sha256", hashes), ("source_sha256", hashes)):
        if column in schema.names and len(values):
            found = pc.is_in(pq.read_table(path, columns=[column], partitioning=None)[column], value_set=values)
            number = pc.sum(found).as_py()
            if number:
                yield f"{path}: {number} rows by {column}"


def _in_shard(path: Path, members: Collection[str]) -> Iterator[str]:
    with tarfile.open(path) as shard:
        found = {name for name in shard.getnames() if name.partition(".")[0] in members}
    if found:
        yield f"{path}: {len(found)} members"


def _num_copies(root: Path, named: pa.Table) -> int:
    hashes = named["sha256"].combine_chunks().drop_null()
    number = 0
    for path in sorted((root / "data" / "shards").glob("*/manifest.parquet")):
        table = records.read_table(path, records.MANIFEST, columns=["uid", "source_sha256"])
        same = pc.is_in(table["source_sha256"], value_set=hashes)
        other = pc.invert(pc.is_in(table["uid"], value_set=named["uid"].combine_chunks()))
        number += pc.sum(pc.and_(same, other)).as_py() or 0
    return number


def max_distance(root: Path) -> int:
    """Returns how far a look may be from an opted-out one, as the recipe of select has it.

    Raises:
        ValueError: if there is no rule opt_out.
    """
    recipe = params.read(root / "params.yaml").get("select", {}).get("rules", [])
    found = [rule["max_distance"] for rule in recipe if rule.get("rule") == "opt_out"]
    if not found:
        raise ValueError(f"{root / 'params.yaml'}: select.rules has no rule opt_out: opt-outs would change nothing")
    return int(found[0])
