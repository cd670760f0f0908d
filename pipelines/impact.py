"""What opt-outs touch, before anything is rebuilt, and whether anything of it remains after.

The judgement is that of the rule `opt_out` itself, over the signals of every snapshot; what was kept and who saw it is
read from stage audit's tables.
"""

import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage import params, records
from pipelines.rules.known_pictures import OptOut
from pipelines.selection.rows import Part, Rows, Sources

TOUCHED = pa.schema([(name, pa.string()) for name in ("snapshot", "uid", "by", "sha256")])
"""Pairs that opt-outs name; `by` is the kind of the opt-out that does."""
_TABLES = ("selection/*/kept.parquet", "shards/*/manifest.parquet", "screen/rows.parquet", "audit/exposures.parquet")
_KEPT_AUDIT = "audit/pairs.parquet"


def touched(root: Path, optouts: Path) -> pa.Table:
    """Returns TOUCHED of a project: the pairs of its snapshots that a table of opt-outs names, whatever became of them.

    Raises:
        FileNotFoundError: if a snapshot was never measured here, naming the folder.
    """
    sources = Sources(
        optouts=optouts, sets=(), **dict.fromkeys(("scores", "concepts", "benchmarks", "test_embeddings"), optouts)
    )
    rule = OptOut(max_distance=_max_distance(root))
    found = [TOUCHED.empty_table()]
    for snapshot in params.names("snapshots", root / "params.yaml"):
        folder = root / "data" / "signals" / snapshot
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: not there; `dvc checkout` brings it, or `dvc repro` makes it")
        for signals in sorted(folder.glob("*.parquet")):
            rows = Rows(Part(signals=signals, embeddings=root / "data" / "embeddings" / snapshot), sources)
            by, _ = rule.judge(rows)
            named = {"uid": rows.text("uid"), "by": by, "sha256": rows.text("sha256")}
            table = pa.table({"snapshot": pa.array([snapshot] * len(rows), pa.string()), **named})
            found.append(table.filter(pc.is_valid(table["by"])).cast(TOUCHED))
    return pa.concat_tables(found)


def summary(root: Path, named: pa.Table) -> dict[str, Any]:
    """Returns what TOUCHED pairs mean for a project as it stands: kept pairs, shards, and what each model saw of them.

    `copies` counts kept pairs whose bytes equal a touched picture's under another link, which the opt-outs do not name.
    """
    pairs = records_of(root / "data" / _KEPT_AUDIT)
    keys = ["snapshot", "uid"]
    mine = pairs.join(named.select([*keys, "by"]), keys, join_type="inner")
    kept = mine.filter(mine["kept"])
    seen = records_of(root / "data/audit/exposures.parquet").join(named.select(keys), keys, join_type="inner")
    models = seen.group_by("model").aggregate([("uid", "count"), ("count", "sum")]).sort_by("model").to_pylist()
    return {
        "pairs": named.num_rows,
        "by": {row["values"]: row["counts"] for row in pc.value_counts(named["by"]).to_pylist()},
        "kept": kept.num_rows,
        "shards": sorted({f"{row['snapshot']}/{row['shard']}" for row in kept.to_pylist() if row["shard"]}),
        "models": {row["model"]: {"pairs": row["uid_count"], "times": row["count_sum"]} for row in models},
        "copies": _num_copies(root, named),
    }


def remains(root: Path, named: pa.Table) -> Iterator[str]:
    """Yields each place of a rebuilt project where a TOUCHED pair still stands, or its picture's bytes in a shard.

    Looked at: selections, manifests, every member of every shard, the screen, the index and what models saw. Not looked
    at, for they keep what was fetched: the lists, data/source, data/raw, data/signals, the store and DVC's cache.
    """
    uids = named["uid"].combine_chunks()
    by_picture = named.filter(pc.is_in(named["by"], value_set=pa.array(["sha256", "phash"])))
    hashes = by_picture["sha256"].combine_chunks().drop_null()
    for pattern in (*_TABLES, "index/metadata/*.parquet"):
        for path in sorted((root / "data").glob(pattern)):
            yield from _in_table(path, uids, hashes)
    for path in sorted((root / "models").glob("*/*.parquet")):
        yield from _in_table(path, uids, hashes)
    members = set(uids.to_pylist())
    for path in sorted((root / "data" / "shards").glob("*/*/*.tar")):
        yield from _in_shard(path, members)


def records_of(path: Path) -> pa.Table:
    """Returns a table of stage audit.

    Raises:
        FileNotFoundError: if it is not there, saying how to bring it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; `dvc checkout` brings it, or `dvc repro` makes it")
    return pq.read_table(path, partitioning=None)


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


def _max_distance(root: Path) -> int:
    """Returns how far a look may be from an opted-out one, as the recipe of select has it."""
    recipe = params.read(root / "params.yaml").get("select", {}).get("rules", [])
    found = [rule["max_distance"] for rule in recipe if rule.get("rule") == "opt_out"]
    if not found:
        raise ValueError(f"{root / 'params.yaml'}: select.rules has no rule opt_out: opt-outs would change nothing")
    return int(found[0])
