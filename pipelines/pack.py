"""Stage pack: the kept pairs of a snapshot as byte-deterministic WebDataset shards, on Beam, one shard a task.

data/shards/S holds {train,val}/NNNNN.tar, each with UID.EXT, UID.json and UID.txt in order of uid, and
manifest.parquet. The picture's bytes are those fetched, unless `max_side_px` has larger ones reduced; UID.json and the
manifest have the sha256 of both. Bytes of reduced pictures depend on Pillow's version, all others on nothing but the
pairs, `rows_per_shard` and `num_shards`.
"""

import dataclasses
import itertools
import json
import operator
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from lineage import digests, params, records, stage
from pipelines import pictures, plans, tar
from pipelines.engine import Receipt, RunnerConfig, run_tasks

SPLITS = ("train", "val")
_BUFFER_BYTES = 1 << 20
_FETCHED = pa.schema([*records.LEDGER, ("split", pa.string())])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PackConfig:
    """Section `pack` of params.yaml."""

    rows_per_shard: int
    """Pairs of one shard, >= 1."""
    num_shards: int | None
    """Shards of the train split, >= 1, as equal as can be; None: as many as `rows_per_shard` makes."""
    max_side_px: int | None
    """Pictures with a longer side are reduced to it, px, >= 1; None: every picture stays as fetched."""

    def __post_init__(self) -> None:
        for name in ("rows_per_shard", "num_shards", "max_side_px"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, not {value}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PackTask:
    """One shard to write."""

    name: str
    split: str
    shard: str
    plan: Path
    """The ledger rows that go in, in order of uid."""
    raw: Path
    scratch: Path
    """The shard goes to `out`, its part of the manifest to `parts`, both below."""
    max_side_px: int | None


def main(raw: Path, kept: Path, shards: Path, provenance: Path) -> None:
    """Packs the kept pairs of one snapshot."""
    config = params.load("pack", PackConfig)
    runner = params.load("runner", RunnerConfig)
    with stage.run("pack", shards.name, params=config, deps=[raw, kept], outs=[shards], provenance=provenance) as this:
        for split in SPLITS:
            (this.scratch / "out" / split).mkdir(parents=True, exist_ok=True)
        tasks = plan(raw, kept, this.scratch, config)
        receipts = run_tasks(f"pack {shards.name}", tasks, pack_shard, this.scratch / "receipts", runner)
        records.write_tables(manifest_rows(kept, tasks), records.MANIFEST, this.scratch / "out" / "manifest.parquet")
        licenses: dict[str, Counter[str]] = {}
        splits = dict.fromkeys(SPLITS, 0)
        for receipt in receipts:
            splits[receipt["split"]] += receipt["rows"]
            for license_name, origins in receipt["licenses"].items():
                licenses.setdefault(license_name, Counter()).update(origins)
        num_kept = plans.num_rows(kept)
        this.account(rows_in=num_kept, kept=sum(splits.values()), splits=splits, licenses=licenses)
        this.publish(this.scratch / "out", shards)


def plan(raw: Path, kept: Path, scratch: Path, config: PackConfig) -> list[PackTask]:
    """Returns the shards to write, the same whatever runs them, after writing the rows of each below `scratch`/plan.

    Raises:
        ValueError: if a kept uid was not fetched: selection and raw data do not belong together.
    """
    numbers = Counter(records.read_table(kept, columns=["split"])["split"].to_pylist())
    tasks = []
    for split in SPLITS:
        sizes = shard_sizes(numbers[split], config.rows_per_shard, config.num_shards if split == "train" else None)
        made = [
            PackTask(
                name=f"{split}-{number:05d}",
                split=split,
                shard=f"{split}/{tar.shard_name(number)}",
                plan=scratch / "plan" / f"{split}-{number:05d}.parquet",
                raw=raw,
                scratch=scratch,
                max_side_px=config.max_side_px,
            )
            for number in range(len(sizes))
        ]
        rows = (rows.filter(pc.equal(rows["split"], split)) for rows in fetched(raw, kept))
        plans.write(plans.cut(rows, sizes), [task.plan for task in made])
        tasks += made
    return tasks


def shard_sizes(num_rows: int, rows_per_shard: int, num_shards: int | None) -> list[int]:
    """Returns the rows of each shard: `rows_per_shard` and a rest, or `num_shards` that differ by one row at most.

    There is no empty shard: fewer rows than `num_shards` make one shard each.
    """
    if num_shards is None:
        return [min(rows_per_shard, num_rows - start) for start in range(0, num_rows, rows_per_shard)]
    number = min(num_shards, num_rows)
    return [num_rows // number + (place < num_rows % number) for place in range(number)]


def fetched(raw: Path, kept: Path) -> Iterator[pa.Table]:
    """Yields the ledger rows of the kept pairs with their split, in order of uid, in memory bounded by a batch.

    Raises:
        ValueError: if a kept uid was not fetched.
    """
    ledger = plans.batches(raw / "ledger.parquet", records.LEDGER)
    batch = next(ledger, None)
    for chosen in plans.batches(kept, records.KEPT):
        last, found = chosen["uid"][-1].as_py(), []
        while batch is not None:
            found.append(batch.filter(pc.is_in(batch["uid"], chosen["uid"])))
            if batch["uid"][-1].as_py() >= last:  # its end may belong to the next ones
                break
            batch = next(ledger, None)
        rows = pa.concat_tables(found) if found else records.LEDGER.empty_table()
        if not rows["uid"].equals(chosen["uid"]) or pc.any(pc.not_equal(rows["outcome"], "ok")).as_py():
            raise ValueError(f"{kept}: keeps pairs that {raw} did not fetch; `dvc repro` brings both up to date")
        yield rows.append_column("split", chosen["split"])


def pack_shard(task: PackTask) -> Receipt:
    """Writes one shard and its part of the manifest, each picture's digest checked on reading; returns its counts.

    Raises:
        ValueError: if a raw shard is missing or damaged, naming it.
    """
    path = task.scratch / "out" / task.shard
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    rows = records.read_table(task.plan, _FETCHED).to_pylist()
    packed: list[dict[str, Any]] = []
    licenses: dict[str, Counter[str]] = {}
    with partial.open("wb", _BUFFER_BYTES) as file:
        for row, sample in _samples(task.raw, rows):
            facts = json.loads(sample["json"])
            packed.append(add_pair(file, row, sample, facts, task))
            origins = licenses.setdefault(facts["license"] or "unknown", Counter())
            origins[facts["origin"] or "unknown"] += 1
        tar.close(file)
    verify_shard(partial, packed)
    partial.replace(path)
    records.write_table(pa.Table.from_pylist(packed, schema=records.MANIFEST), manifest_part(task))
    return {"split": task.split, "rows": len(packed), "licenses": licenses}


def add_pair(
    file: BinaryIO, row: dict[str, Any], sample: dict[str, bytes], facts: dict[str, Any], task: PackTask
) -> dict[str, Any]:
    """Appends one pair to a shard and returns its manifest row.

    Args:
        row: its ledger row.
        facts: the content of its UID.json so far.
    """
    uid, picture, sha256 = row["uid"], sample["picture"], row["sha256"]
    if task.max_side_px is not None:
        picture = pictures.shrink(picture, task.max_side_px)
        sha256 = digests.sha256_bytes(picture)
    offset = tar.add(file, f"{uid}.{pictures.sniff(picture)}", picture)
    hashes = {"sha256": sha256, "source_sha256": row["sha256"]}
    text = json.dumps({**facts, **hashes, "split": task.split}, sort_keys=True, ensure_ascii=False)
    tar.add(file, f"{uid}.json", text.encode())
    tar.add(file, f"{uid}.txt", sample["txt"])
    return {"uid": uid, "split": task.split, "shard": task.shard, "offset": offset, "length": len(picture), **hashes}


def verify_shard(path: Path, manifest: Sequence[dict[str, Any]]) -> None:
    """Reads every picture of a written shard back by its recorded place.

    Raises:
        ValueError: if one is not what the manifest says, naming shard and uid.
    """
    with tar.open_shard(path) as file:
        for row in manifest:
            if digests.sha256_bytes(tar.read_at(file, row["offset"], row["length"])) != row["sha256"]:
                raise ValueError(f"{path}: {row['uid']} does not read back as written; check the disk and run again")


def manifest_part(task: PackTask) -> Path:
    """Returns where a shard's rows of the manifest are."""
    return task.scratch / "parts" / f"{task.name}.parquet"


def manifest_rows(kept: Path, tasks: Sequence[PackTask]) -> Iterator[pa.Table]:
    """Yields the rows of the manifest in order of uid: both splits are in that order, `kept` says how they mix."""
    counts = [Counter(chosen["split"].to_pylist()) for chosen in plans.batches(kept, records.KEPT)]
    pieces = {
        split: plans.cut(_manifest_parts(tasks, split), [count[split] for count in counts if count[split]])
        for split in SPLITS
    }
    for count in counts:
        yield pa.concat_tables([next(pieces[split]) for split in SPLITS if count[split]]).sort_by("uid")


def _manifest_parts(tasks: Sequence[PackTask], split: str) -> Iterator[pa.Table]:
    for task in tasks:
        if task.split == split:
            yield records.read_table(manifest_part(task), records.MANIFEST)


def _samples(raw: Path, rows: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """Yields ledger rows with their samples, each checked; a raw shard stays open for the rows in a row that it has."""
    for number, group in itertools.groupby(rows, key=operator.itemgetter("shard")):
        with tar.open_shard(raw / tar.shard_name(number)) as file:
            for row in group:
                yield row, tar.read_sample(file, row)


if __name__ == "__main__":
    from pipelines.pack import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(main)
