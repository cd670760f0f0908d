"""Stage measure: signals of every row of the ledger, failed ones too, on Beam, one raw shard a task."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lineage import params, records, stage
from pipelines import plans, signals, tar
from pipelines.engine import Receipt, RunnerConfig, run_tasks
from pipelines.mending import RawShard, stored_bodies
from pipelines.web import store

logger = logging.getLogger("clipline")

_LEDGER = pa.schema([field for field in records.LEDGER if field.name != "uid"])
_COPIED = ("uid", "url_sha256", "host", "host_sha256", "bytes", "sha256", "caption", "drift", "given")
"""Columns that stand in source or ledger already."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MeasureConfig:
    """Section `measure` of params.yaml."""

    max_pixels: int
    """Pictures declaring more pixels (width x height) are not decoded."""

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be >= 1, not {self.max_pixels}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MeasureTask:
    """One raw shard to measure."""

    name: str
    plan: Path
    """Its rows of source and ledger, side by side."""
    shard: Path
    scratch: Path
    """Its signals go to `out`, a damaged shard built again to `mended`, both below."""
    store: Path
    """Where pictures of a damaged shard come from."""
    snapshot: str
    max_pixels: int


def main(source: Path, raw: Path, measured: Path, provenance: Path) -> None:
    """Measures every pair of one snapshot."""
    config = params.load("measure", MeasureConfig)
    runner = params.load("runner", RunnerConfig)
    deps = [source, raw]
    with stage.run("measure", measured.name, params=config, deps=deps, outs=[measured], provenance=provenance) as this:
        out = this.scratch / "out"
        out.mkdir(exist_ok=True)
        tasks = plan(source, raw, this.scratch, config)
        receipts = run_tasks(f"measure {measured.name}", tasks, measure_shard, this.scratch / "receipts", runner)
        if not tasks:
            records.write_table(records.rows_table([], records.SIGNALS), out / "00000.parquet")
        _warn_of_damage(receipts, raw)
        failed: Counter[str] = Counter()
        for receipt in receipts:
            failed.update(receipt["failed"])
        kept = sum(receipt["rows"] for receipt in receipts) - sum(failed.values())
        this.account(rows_in=plans.num_rows(raw / "ledger.parquet"), kept=kept, failed=failed)
        this.publish(out, measured)


def plan(source: Path, raw: Path, scratch: Path, config: MeasureConfig) -> list[MeasureTask]:
    """Returns a task for each raw shard, after writing the source and ledger rows of each below `scratch`/plan.

    Raises:
        ValueError: if source and ledger do not have the same rows.
    """
    sizes = shard_sizes(raw / "ledger.parquet")
    if plans.num_rows(source / "source.parquet") != sum(sizes.values()):
        raise _unlike(source, raw)
    bodies = store.root()
    tasks = [
        MeasureTask(
            name=f"{number:05d}",
            plan=scratch / "plan" / f"{number:05d}.parquet",
            shard=raw / tar.shard_name(number),
            scratch=scratch,
            store=bodies,
            snapshot=raw.name,
            max_pixels=config.max_pixels,
        )
        for number in sizes
    ]
    plans.write(_side_by_side(source, raw, list(sizes.values())), [task.plan for task in tasks])
    return tasks


def shard_sizes(ledger: Path) -> dict[int, int]:
    """Returns the number of rows of each raw shard, failed ones too, in the ledger's order, which is that of the uids.

    Raises:
        ValueError: if the rows of a shard do not lie together.
    """
    shards = records.read_table(ledger, columns=["shard"])["shard"].to_numpy()
    starts = np.flatnonzero(np.diff(shards, prepend=-1))
    sizes = dict(zip(shards[starts].tolist(), np.diff(starts, append=len(shards)).tolist(), strict=True))
    if len(sizes) != len(starts):
        raise ValueError(f"{ledger}: the rows of a shard do not lie together; `dvc repro` writes it anew")
    return sizes


def _side_by_side(source: Path, raw: Path, sizes: list[int]) -> Iterator[pa.Table]:
    """Yields source and ledger rows side by side, shard by shard."""
    pairs = plans.cut(plans.batches(source / "source.parquet", records.SOURCE), sizes)
    fetches = plans.cut(plans.batches(raw / "ledger.parquet", records.LEDGER), sizes)
    for rows, ledger in zip(pairs, fetches, strict=True):
        if not rows["uid"].equals(ledger["uid"]):
            raise _unlike(source, raw)
        for field in _LEDGER:
            rows = rows.append_column(field, ledger[field.name])
        yield rows


def _unlike(source: Path, raw: Path) -> ValueError:
    return ValueError(f"{raw}: its ledger does not hold the rows of {source}; `dvc repro` brings both up to date")


def measure_shard(task: MeasureTask) -> Receipt:
    """Writes the signals of one raw shard, sorted by uid, and returns its counts and what is wrong with the shard."""
    table = records.read_table(task.plan)
    rows = table.to_pylist()
    mended = task.scratch / "mended" / task.shard.name
    with RawShard(task.shard, rows, stored_bodies(task.store, task.snapshot), mended=mended) as shard:
        measured = [measure_row(row, shard, task.max_pixels) for row in rows]
    columns = {name: table[name] for name in _COPIED}
    for name in measured[0]:
        columns[name] = pa.array([row[name] for row in measured], records.SIGNALS.field(name).type)
    signals_table = pa.table([columns[name] for name in records.SIGNALS.names], schema=records.SIGNALS)
    records.write_table(signals_table, task.scratch / "out" / f"{task.name}.parquet")
    failed = Counter(row["error"] for row in measured if row["error"])
    return {"rows": len(rows), "failed": failed, "damage": shard.damage}


def measure_row(row: dict[str, Any], shard: RawShard, max_pixels: int) -> dict[str, Any]:
    """Returns the signals of one row and its `error`; what was not fetched carries the ledger's reason as its error."""
    views = signals.link_views(row["url"], row["host"]) | signals.caption_views(row["caption"])
    error = row["reason"]
    if row["outcome"] == "ok":
        content = shard.picture(row)
        views |= signals.picture_views(content, max_pixels)
        error = "raw_damaged" if content is None else views["error"]
    return signals.measure(views) | {"error": error}


def _warn_of_damage(receipts: list[Receipt], raw: Path) -> None:
    """Names each damaged shard once: its pictures came from the store, but later stages read the shards, too."""
    for receipt in receipts:
        if receipt["damage"]:
            logger.warning("%s (`dvc checkout %s`); its pictures came from the store", receipt["damage"], raw)


if __name__ == "__main__":
    from pipelines.measure import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(main)
