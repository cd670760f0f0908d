"""Exact deduplication by sha256 of many rows in parquet parts: the rule `exact` of stage select against duckdb.

    python benchmarks/exact_dedup.py [--rows 10000000] [--partitions 16 64 256] [--rounds 3]

Both read the parts, keep the row of least uid of each sha256 and write the kept uids; the kept sets must be equal. Ours
is the fold of stage select with one rule, on the embedded Beam runner, once for each number of partitions: the more
there are, the smaller the part of the keys that is in memory at once. duckdb takes row_number() over each sha256, once
on all of its threads and once on one.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import contest
import measure_run
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from contest import Contender, Heat

sys.path.insert(0, str(contest.ROOT))
from lineage import records, stage

_ROWS_PER_PART = 100_000
_DUPLICATE_FRACTION = 0.1
_UID_BYTES = 32
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def main() -> None:
    """Measures, or is what is measured."""
    options = _options()
    if options.work:
        folder = Path(options.data)
        return _duckdb(folder, options.threads) if options.work == "duckdb" else _select(folder, options)
    folder = Path(tempfile.mkdtemp(prefix="exact_dedup"))
    try:
        make_parts(folder / "parts", options.rows)
        script = [sys.executable, __file__, "--workers", str(options.workers), "--data", str(folder), "--work"]
        commands = {
            "duckdb, all threads": [*script, "duckdb"],
            "duckdb, 1 thread": [*script, "duckdb", "--threads", "1"],
        }
        for number in options.partitions:
            commands[f"select, {number} partitions"] = [*script, "select", "--partitions", str(number)]
        contenders = [Contender(name=name, command=command) for name, command in commands.items()]
        runs = contest.hold(contenders, options.rounds)
    finally:
        shutil.rmtree(folder)
    answers = {(run.answer["kept"], run.answer["sum"]) for its in runs.values() for run in its}
    if len(answers) > 1:
        sys.exit(f"the kept sets differ: {sorted(answers)}")
    facts = {"kept": answers.pop()[0], "kept rows": "the same ones", "workers": options.workers}
    heat = Heat(title="exact duplicates", rows=options.rows, runs=runs, goal="at most 10 times duckdb")
    contest.report("exact_dedup", [heat], facts, options.results)
    return None


def make_parts(folder: Path, num_rows: int) -> None:
    """Writes signals with uid, sha256 and sizes, sorted by uid within a part; a tenth of the pictures are copies."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    num_pictures = int(num_rows * (1 - _DUPLICATE_FRACTION))
    copies = random.integers(0, num_pictures, num_rows - num_pictures)
    pictures = random.permutation(np.concatenate([np.arange(num_pictures), copies]))
    starts = range(0, num_rows, _ROWS_PER_PART)
    for number, start in enumerate(stage.progress(starts, label="parts")):
        picture = pictures[start : start + _ROWS_PER_PART].astype(np.uint64)
        size = len(picture)
        uids = np.sort(_hex(random.integers(0, 2**64, (size, 2), np.uint64)))
        words = np.stack([_mixed(picture + np.uint64(word << 40)) for word in range(4)], axis=1)
        columns = {
            "uid": pa.array(uids),
            "sha256": pa.array(_hex(words)),
            "width": pa.array(np.full(size, 64)),
            "height": pa.array(np.full(size, 64)),
            "error": pa.nulls(size, pa.string()),
        }
        table = pa.table({name: column.cast(records.SIGNALS.field(name).type) for name, column in columns.items()})
        records.write_table(table, folder / f"{number:05d}.parquet")


def _mixed(words: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns 64-bit words that look random, one to one (the finaliser of splitmix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _hex(words: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns rows of words as text of 16 hex digits a word."""
    octets = words.byteswap().view(np.uint8).reshape(len(words), -1)
    digits = np.stack([_HEX[octets >> 4], _HEX[octets & 15]], axis=2).reshape(len(words), -1)
    return np.ascontiguousarray(digits).view(f"S{digits.shape[1]}").ravel().astype(str)


def _duckdb(folder: Path, threads: int | None) -> None:
    import duckdb

    connection = duckdb.connect(config={"threads": threads} if threads else {})
    out = folder / "duckdb.parquet"
    connection.execute(f"""
        COPY (
            SELECT uid FROM (
                SELECT uid, row_number() OVER (PARTITION BY sha256 ORDER BY uid) AS place
                FROM read_parquet('{folder}/parts/*.parquet')
            ) WHERE place = 1 ORDER BY uid
        ) TO '{out}' (FORMAT parquet, COMPRESSION zstd)
    """)  # noqa: S608  the folder is our own
    _say(out)


def _select(folder: Path, options: argparse.Namespace) -> None:
    from pipelines import rules
    from pipelines.engine import RunnerConfig
    from pipelines.selection.fold import fold
    from pipelines.selection.outcome import KEPT, snapshot_of
    from pipelines.selection.rows import Sources
    from pipelines.selection.workers import OnBeam

    work = folder / "work"
    runner = RunnerConfig(
        name="FnApiRunner",
        num_workers=options.workers,
        running_mode="in_memory" if options.workers == 1 else "multi_processing",
        options=[],
        download_processes=1,
        download_threads=1,
    )
    recipe = rules.parse([{"rule": "exact", "same_image_captions": "keep_one"}])
    nowhere = folder / "none"
    names = ("optouts", "scores", "concepts", "benchmarks", "test_embeddings")
    sources = Sources(**dict.fromkeys(names, nowhere), sets=())
    workers = OnBeam(folder=work, runner=runner)
    snapshots = [snapshot_of(folder / "parts", nowhere)]
    out = folder / "select.parquet"
    for outcome in fold(snapshots, recipe, sources, workers=workers, num_partitions=options.partitions[0]):
        kept = pa.array(outcome.rule_N == KEPT)
        with pq.ParquetWriter(out, pa.schema([("uid", pa.string())]), compression="zstd") as writer:
            for part, start in zip(outcome.snapshot.parts, outcome.starts, strict=False):
                uids = pq.read_table(part.signals, columns=["uid"], partitioning=None)
                writer.write_table(uids.filter(kept.slice(start, uids.num_rows)))
    shutil.rmtree(work)
    _say(out)


def _say(out: Path) -> None:
    """Says how many uids are in a file, and a sum that hangs on all of them, in whatever order."""
    kept, total = 0, 0
    for batch in pq.ParquetFile(out).iter_batches(1 << 17):
        digits = batch.column(0).cast(pa.binary()).cast(pa.binary(_UID_BYTES))
        words = np.frombuffer(digits.buffers()[1], np.uint64)
        kept, total = kept + batch.num_rows, total + int(_mixed(words).sum(dtype=np.uint64))
    out.unlink()
    measure_run.answer(kept=kept, sum=total % 2**64)


def _options() -> argparse.Namespace:
    parser = contest.parser(__doc__, rows=10_000_000, rounds=3, workers=1)
    parser.add_argument("--partitions", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--data", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
