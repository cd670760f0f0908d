"""Stage measure against a plain multiprocessing.Pool that does the same work with the same functions.

    python benchmarks/measure.py [--rows 50000] [--rounds 2] [--workers N]

The Pool opens each raw shard, seeks every picture by the ledger's offset, checks its sha256, measures it and writes a
parquet file: no plan, no receipts, no account, no record of the run. Both write the same signals, row for row.
"""

import hashlib
import json
import multiprocessing
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import contest
import pyarrow as pa
import pyarrow.parquet as pq
import scratch_project
import synthetic
from contest import Contender, Heat

sys.path.insert(0, str(contest.ROOT))
from lineage import digests, records
from pipelines import signals, tar

_ROWS_PER_SHARD = 1000
_COPIED = ("uid", "url_sha256", "host", "host_sha256", "sha256", "bytes", "caption", "drift", "given")


def main() -> None:
    """Measures, or is what is measured."""
    options = contest.parser(__doc__, rows=50_000, rounds=2).parse_args()
    if options.work:
        return run_pool(**json.loads(options.work))
    root = Path(tempfile.mkdtemp(prefix="measure"))
    try:
        project = make_project(root, options.rows, options.workers)
        runs = contest.hold(contenders(project, options.workers), options.rounds)
    finally:
        shutil.rmtree(root)
    heat = Heat(title="measure", rows=options.rows, runs=runs, goal="at most 1.15 times the Pool")
    contest.report("measure", [heat], {"workers": options.workers, "signals": "equal"}, options.results)
    return None


def make_project(root: Path, num_rows: int, workers: int) -> scratch_project.Project:
    """Returns a project with source and raw shards of some pictures."""
    project = scratch_project.Project(root)
    project.run_on(workers)
    project.change({"snapshots": ["s1"]})
    album = synthetic.make_album(root / "album", num_rows, workers, synthetic.USUAL_PX)
    table = synthetic.source_table(range(num_rows), synthetic.example_url)
    synthetic.write_source(table, project.data / "source/s1")
    synthetic.write_raw(table, album, project.data / "raw/s1", _ROWS_PER_SHARD)
    return project


def contenders(project: scratch_project.Project, workers: int) -> list[Contender]:
    """Returns the Pool and the stage, each held to the same signals."""
    made: list[str] = []
    work = {"data": str(project.data), "workers": workers, "max_pixels": project.params["measure"]["max_pixels"]}

    def compare(folder: str) -> None:
        made.append(content_digest(project.data / folder))
        if len(set(made)) > 1:
            sys.exit(f"{folder}: the signals differ from the Pool's")

    return [
        Contender(
            name=f"Pool of {workers}",
            command=[sys.executable, __file__, "--work", json.dumps(work)],
            folder=project.folder,
            finish=lambda: compare("pool"),
        ),
        project.contender("measure", "s1", "stage measure", finish=lambda: compare("signals/s1")),
    ]


def run_pool(data: str, workers: int, max_pixels: int) -> None:
    """Writes the signals of every raw shard into data/pool."""
    folder = Path(data)
    source = pq.read_table(folder / "source/s1/source.parquet")
    ledger = pq.read_table(folder / "raw/s1/ledger.parquet")
    joined = source.append_column("shard", ledger["shard"])
    for name in ("key", "offset", "bytes", "sha256", "drift"):
        joined = joined.append_column(name, ledger[name])
    tasks = [
        (folder, number, joined.slice(start, _ROWS_PER_SHARD), max_pixels)
        for number, start in enumerate(range(0, joined.num_rows, _ROWS_PER_SHARD))
    ]
    (folder / "pool").mkdir(exist_ok=True)
    with multiprocessing.Pool(workers) as pool:
        for _ in pool.imap_unordered(_measure_shard, tasks):
            pass


def content_digest(folder: Path) -> str:
    """Returns a digest of the rows of some signals, whatever files they are in."""
    table = records.read_table(folder, records.SIGNALS).combine_chunks()
    digest = hashlib.sha256()
    for batch in table.sort_by("uid").to_batches(max_chunksize=10_000):
        digest.update(repr(batch.to_pylist()).encode())
    return digest.hexdigest()


def _measure_shard(task: tuple[Path, int, pa.Table, int]) -> None:
    folder, number, table, max_pixels = task
    rows: list[dict[str, Any]] = []
    with (folder / "raw/s1" / tar.shard_name(number)).open("rb") as shard:
        for row in table.to_pylist():
            shard.seek(row["offset"])
            content = shard.read(row["bytes"])
            assert digests.sha256_bytes(content) == row["sha256"]
            views = signals.link_views(row["url"], row["host"]) | signals.caption_views(row["caption"])
            views |= signals.picture_views(content, max_pixels)
            copied = {name: row[name] for name in _COPIED}
            rows.append({**copied, **signals.measure(views), "error": views["error"]})
    made = pa.Table.from_pylist(rows, schema=records.SIGNALS)
    pq.write_table(made, folder / "pool" / f"{number:05d}.parquet", compression="zstd")


if __name__ == "__main__":
    main()
