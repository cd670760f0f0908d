"""Stage pack: the kept pairs of a snapshot as byte-deterministic WebDataset shards, on Beam, one shard a task.

data/shards/S holds {train,val}/NNNNN.tar, each with UID.EXT (the picture's bytes as fetched), UID.json and UID.txt
in order of uid, and manifest.parquet.
"""

import dataclasses
import itertools
import json
import operator
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from lineage import digests, params, records, stage
from pipelines import tar
from pipelines.engine import Receipt, RunnerConfig, run_tasks
from pipelines.pictures import sniff

SPLITS = ("train", "val")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PackConfig:
    """Section `pack` of params.yaml."""

    rows_per_shard: int
    """Pairs of one shard, >= 1."""

    def __post_init__(self) -> None:
        if self.rows_per_shard < 1:
            raise ValueError(f"rows_per_shard must be >= 1, not {self.rows_per_shard}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PackTask:
    """One shard to write: the ledger rows that go in, in order of uid."""

    name: str
    split: str
    shard: str
    raw: Path
    out: Path
    rows: list[dict[str, Any]]


def main(raw: Path, kept: Path, shards: Path, provenance: Path) -> None:
    """Packs the kept pairs of one snapshot."""
    config = params.load("pack", PackConfig)
    runner = params.load("runner", RunnerConfig)
    with stage.run("pack", shards.name, params=config, deps=[raw, kept], outs=[shards], provenance=provenance) as this:
        out = this.scratch / "out"
        for split in SPLITS:
            (out / split).mkdir(parents=True, exist_ok=True)
        num_kept = records.read_table(kept, records.KEPT).num_rows
        tasks = plan(raw, kept, out, config.rows_per_shard)
        receipts = run_tasks(f"pack {shards.name}", tasks, pack_shard, this.scratch / "receipts", runner)
        packed = [row for receipt in receipts for row in receipt["packed"]]
        records.write_table(records.rows_table(packed, records.MANIFEST), out / "manifest.parquet")
        licenses: dict[str, Counter[str]] = {}
        for row in packed:
            licenses.setdefault(row["license"] or "unknown", Counter())[row["origin"] or "unknown"] += 1
        splits = {split: sum(row["split"] == split for row in packed) for split in SPLITS}
        this.account(rows_in=num_kept, kept=len(packed), splits=splits, licenses=licenses)
        this.publish(out, shards)


def plan(raw: Path, kept: Path, out: Path, rows_per_shard: int) -> list[PackTask]:
    """Returns the shards to write: within a split in order of uid, `rows_per_shard` each, whatever runs them.

    Raises:
        ValueError: if a kept uid was not fetched: selection and raw data do not belong together.
    """
    ledger = records.read_table(raw / "ledger.parquet", records.LEDGER)
    chosen = records.read_table(kept, records.KEPT)
    tasks = []
    for split in SPLITS:
        uids = chosen.filter(pc.equal(chosen["split"], split))["uid"]
        rows = ledger.filter(pc.is_in(ledger["uid"], uids)).sort_by("uid").to_pylist()
        if len(rows) != len(uids) or any(row["outcome"] != "ok" for row in rows):
            raise ValueError(f"{kept}: keeps pairs that {raw} did not fetch; `dvc repro` brings both up to date")
        for number, start in enumerate(range(0, len(rows), rows_per_shard)):
            shard = f"{split}/{tar.shard_name(number)}"
            part = rows[start : start + rows_per_shard]
            tasks.append(PackTask(name=f"{split}-{number:05d}", split=split, shard=shard, raw=raw, out=out, rows=part))
    return tasks


def pack_shard(task: PackTask) -> Receipt:
    """Writes one shard and its part of the manifest, each picture's digest checked on reading.

    Raises:
        ValueError: if a raw shard is missing or damaged, naming it.
    """
    path = task.out / task.shard
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    packed = []
    with partial.open("wb") as file:
        for number, rows in itertools.groupby(task.rows, key=operator.itemgetter("shard")):
            with tar.open_shard(task.raw / tar.shard_name(number)) as raw:
                packed += [add_pair(file, row, tar.read_sample(raw, row), task) for row in rows]
        tar.close(file)
    verify_shard(partial, packed)
    partial.replace(path)
    return {"packed": packed}


def add_pair(file: Any, row: dict[str, Any], sample: dict[str, bytes], task: PackTask) -> dict[str, Any]:
    """Appends one pair to a shard and returns its manifest row, with its licence and origin as given."""
    uid, picture = row["uid"], sample["picture"]
    offset = tar.add(file, f"{uid}.{sniff(picture)}", picture)
    facts = {**json.loads(sample["json"]), "sha256": row["sha256"], "split": task.split}
    tar.add(file, f"{uid}.json", json.dumps(facts, sort_keys=True, ensure_ascii=False).encode())
    tar.add(file, f"{uid}.txt", sample["txt"])
    place = {"split": task.split, "shard": task.shard, "offset": offset, "length": len(picture)}
    given = {name: facts[name] for name in ("license", "origin")}
    return {"uid": uid, **place, "sha256": row["sha256"], **given}


def verify_shard(path: Path, manifest: list[dict[str, Any]]) -> None:
    """Reads every picture of a written shard back by its recorded place.

    Raises:
        ValueError: if one is not what the manifest says, naming shard and uid.
    """
    with tar.open_shard(path) as file:
        for row in manifest:
            if digests.sha256_bytes(tar.read_at(file, row["offset"], row["length"])) != row["sha256"]:
                raise ValueError(f"{path}: {row['uid']} does not read back as written; check the disk and run again")


if __name__ == "__main__":
    from pipelines.pack import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(main)
