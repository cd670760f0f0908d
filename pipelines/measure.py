"""Stage measure: signals of every row of the ledger, failed ones too, on Beam, one raw shard a task."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from lineage import params, records, stage
from pipelines import signals, tar
from pipelines.engine import Receipt, RunnerConfig, run_tasks


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
    shard: int
    raw: Path
    out: Path
    max_pixels: int


def main(raw: Path, measured: Path, provenance: Path) -> None:
    """Measures every pair of one snapshot."""
    config = params.load("measure", MeasureConfig)
    runner = params.load("runner", RunnerConfig)
    with stage.run("measure", measured.name, params=config, deps=[raw], outs=[measured], provenance=provenance) as this:
        out = this.scratch / "out"
        out.mkdir(exist_ok=True)
        shards = pc.unique(records.read_table(raw / "ledger.parquet", columns=["shard"])["shard"]).to_pylist()
        tasks = [
            MeasureTask(name=f"{shard:05d}", shard=shard, raw=raw, out=out, max_pixels=config.max_pixels)
            for shard in sorted(shards)
        ]
        receipts = run_tasks(f"measure {measured.name}", tasks, measure_shard, this.scratch / "receipts", runner)
        if not tasks:
            records.write_table(records.rows_table([], records.SIGNALS), out / "00000.parquet")
        failed: Counter[str] = Counter()
        for receipt in receipts:
            failed.update(receipt["failed"])
        num_rows = sum(receipt["rows"] for receipt in receipts)
        ledger_rows = records.read_table(raw / "ledger.parquet", columns=["uid"]).num_rows
        this.account(rows_in=ledger_rows, kept=num_rows - sum(failed.values()), failed=failed)
        this.publish(out, measured)


def measure_shard(task: MeasureTask) -> Receipt:
    """Writes the signals of one raw shard, sorted by uid, and returns its counts.

    Raises:
        ValueError: if the shard's bytes differ from the ledger's digests, naming the shard.
    """
    ledger = records.read_table(task.raw / "ledger.parquet", records.LEDGER)
    rows = ledger.filter(pc.equal(ledger["shard"], task.shard)).to_pylist()
    with tar.open_shard(task.raw / tar.shard_name(task.shard)) as file:
        measured = [measure_row(row, file, task.max_pixels) for row in rows]
    records.write_table(records.rows_table(measured, records.SIGNALS), task.out / f"{task.name}.parquet")
    return {"rows": len(measured), "failed": Counter(row["error"] for row in measured if row["error"])}


def measure_row(row: dict[str, Any], file: Any, max_pixels: int) -> dict[str, Any]:
    """Returns the signals of one ledger row; a row that was not fetched carries the ledger's reason as its error."""
    if row["outcome"] != "ok":
        return {"uid": row["uid"], "error": row["reason"]}
    sample = tar.read_sample(file, row)
    measured = signals.picture_signals(sample["picture"], max_pixels)
    caption = sample["txt"].decode()
    return {"uid": row["uid"], "sha256": row["sha256"], **measured, **signals.caption_signals(caption)}


if __name__ == "__main__":
    from pipelines.measure import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(main)
