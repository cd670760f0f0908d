"""Stage embed: the scorer's embeddings of every pair that was measured, by clip-retrieval, one raw shard a task.

data/embeddings/S holds, for each part NNNNN of the signals, NNNNN.parquet (a row for each pair that measure passed),
NNNNN.image.npy and NNNNN.text.npy (float16, L2-normalised, in order of uid).
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lineage import params, records, stage
from pipelines import inference, tar
from pipelines.engine import Receipt, RunnerConfig, run_tasks

_MAX_RATIO = 200
"""Longer over shorter side: the scorer scales the shorter one up to its size, and the longer one with it, so that a
picture of 1 x 500,000 pixels, 1.5 kB of PNG, takes gigabytes."""
LEDGER_COLUMNS = ["uid", "outcome", "sha256", "bytes", "shard", "key", "offset"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EmbedConfig:
    """Section `embed` of params.yaml, of the stages embed and embed_tests."""

    batch_size: int
    """Rows of a forward pass, >= 1; part of the result, because kernels for another shape may round otherwise."""
    threads: int
    """Of torch, >= 1; changes the last bits of sums, so it is part of the result."""
    device: inference.Device
    """Where the towers run, in float32; never chosen by what the machine has, because the last bits differ."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, not {getattr(self, name)}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class EmbedTask:
    """One part of the signals to embed."""

    name: str
    raw: Path
    signals: Path
    out: Path
    work: Path
    settings: inference.Settings


def main(raw: Path, signals: Path, scorer: Path, embeddings: Path, provenance: Path) -> None:
    """Embeds every pair of one snapshot that measure passed."""
    config = params.load("embed", EmbedConfig)
    runner = params.load("runner", RunnerConfig)
    snapshot = embeddings.name
    deps = [raw, signals, scorer]
    with stage.run("embed", snapshot, params=config, deps=deps, outs=[embeddings], provenance=provenance) as this:
        out = this.scratch / "out"
        out.mkdir(exist_ok=True)
        settings = inference.settings(scorer, config.batch_size, config.threads, config.device)
        tasks = [
            EmbedTask(
                name=part.stem, raw=raw, signals=part, out=out, work=this.scratch / "inference", settings=settings
            )
            for part in sorted(signals.glob("*.parquet"))
        ]
        receipts = run_tasks(f"embed {snapshot}", tasks, embed_part, this.scratch / "receipts", runner)
        failed: Counter[str] = Counter()
        for receipt in receipts:
            failed.update(receipt["failed"])
        rows_in = sum(receipt["rows"] for receipt in receipts)
        this.account(rows_in=rows_in, kept=rows_in - failed.total(), failed=failed, scorer=settings.scorer_sha256)
        this.publish(out, embeddings)


def embed_part(task: EmbedTask) -> Receipt:
    """Writes the vectors and the table of one part and returns its counts.

    Raises:
        ValueError: if a raw shard is missing or damaged, or the signals speak of pairs it does not hold.
    """
    table = records.read_table(task.signals, records.SIGNALS, columns=["uid", "error", "width", "height"])
    measured = table.filter(pc.is_null(table["error"])).sort_by("uid")
    uids = measured["uid"].to_pylist()
    can_be_scaled = measured.filter(pc.invert(_is_elongated(measured)))["uid"].to_pylist()
    found = inference.embed(_samples(task, can_be_scaled), task.settings, task.work / task.name, with_text=True)
    inference.save_vectors(found.image_ND, task.out / f"{task.name}.image.npy")
    inference.save_vectors(found.text_ND, task.out / f"{task.name}.text.npy")
    records.write_table(embeddings_table(uids, found), task.out / f"{task.name}.parquet")
    missing = len(uids) - len(found.uids)
    return {"rows": len(uids), "failed": {"not_embedded": missing} if missing else {}}


def _is_elongated(measured: pa.Table) -> pa.ChunkedArray:
    """Returns of each row whether its picture is beyond _MAX_RATIO; one of unknown size is not."""
    sides = measured["width"], measured["height"]
    most = pc.multiply(pc.min_element_wise(*sides), _MAX_RATIO)
    return pc.fill_null(pc.greater(pc.max_element_wise(*sides), most), False)


def embeddings_table(uids: list[str], found: inference.Embedded) -> pa.Table:
    """Returns a row for each uid: its score and its place in the vectors, or why it has none."""
    scores = dict(zip(found.uids, inference.cosines(found.image_ND, found.text_ND), strict=True))
    places = {uid: row for row, uid in enumerate(found.uids)}
    rows = [
        {"uid": uid, "clip_score": scores.get(uid), "row": places.get(uid)}
        | {"reason": None if uid in places else "not_embedded"}
        for uid in uids
    ]
    return records.rows_table(rows, records.EMBEDDINGS)


def _samples(task: EmbedTask, uids: list[str]) -> Iterator[inference.Sample]:
    """Yields the pairs of a part in order of uid."""
    ledger = records.read_table(task.raw / "ledger.parquet", records.LEDGER, columns=LEDGER_COLUMNS)
    wanted = pc.and_(pc.is_in(ledger["uid"], pa.array(uids, pa.string())), pc.equal(ledger["outcome"], "ok"))
    rows = ledger.filter(wanted).sort_by("uid").to_pylist()
    if len(rows) != len(uids):
        raise ValueError(
            f"{task.signals}: measured pairs that {task.raw} did not fetch; `dvc repro` brings both up to date"
        )
    shards = {row["shard"] for row in rows}
    if len(shards) > 1:
        raise ValueError(f"{task.signals}: its pairs lie in raw shards {sorted(shards)}, not in one")
    if not rows:
        return
    with tar.open_shard(task.raw / tar.shard_name(shards.pop())) as file:
        for row in rows:
            sample = tar.read_sample(file, row)
            yield inference.Sample(row["uid"], sample["picture"], sample["txt"])


if __name__ == "__main__":
    from pipelines.embed import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(main)
