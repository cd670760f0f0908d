"""Stage select on many rows of metadata, against one duckdb query that keeps the same rows.

    python benchmarks/select_rows.py [--rows 10000000] [--rounds 1] [--workers 1]

The recipe is the demo's, thresholds included, without the two rules that compare looks (decontaminate and
near_duplicate; `near_dedup.py` measures those). The query writes the uids of the kept rows and nothing else; the stage
writes a verdict with its reason, and every rule's value, of every row, and an exclusion report.
"""

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import contest
import pyarrow.parquet as pq
import scratch_project
import synthetic_signals
from contest import Contender, Heat

sys.path.insert(0, str(contest.ROOT))
from pipelines.rules.captions import _URL_LIKE

_LOOKS = ("decontaminate", "near_duplicate")
_ROWS_PER_PARTITION = 250_000
_QUERY = """
COPY (
    WITH judged AS (
        SELECT s.*, e.clip_score, count(*) OVER (PARTITION BY caption_sha256) AS times
        FROM read_parquet('{data}/signals/s1/*.parquet') s
        LEFT JOIN read_parquet('{data}/embeddings/s1/*.parquet') e USING (uid)
        WHERE error IS NULL
    ), in_bounds AS (
        SELECT * FROM judged
        WHERE NOT (
            url_sha256 IN (SELECT value FROM read_parquet('{data}/optouts.parquet') WHERE kind = 'url_sha256')
            OR host_sha256 IN (SELECT value FROM read_parquet('{data}/optouts.parquet') WHERE kind = 'host_sha256')
            OR least(width, height) < {side[min_px]}
            OR greatest(width, height) / least(width, height) > {aspect[max_ratio]}
            OR caption_chars < {caption_length[min_chars]} OR caption_chars > {caption_length[max_chars]}
            OR caption_letters < {caption_letters[min_letters]}
            OR caption_letter_frac < {caption_letters[min_frac]}
            OR coalesce(script NOT IN ({scripts}), false)
            OR coalesce(language NOT IN ({languages})
                AND language_probability >= {language[min_probability]}
                AND caption_letters >= {language[min_letters]}, false)
            OR regexp_matches(caption, '{address}')
            OR caption_repetition > {caption_repetition[max_frac]}
            OR times > {repeated_caption[max_times]}
        )
    ), ranked AS (
        SELECT *, row_number() OVER (ORDER BY clip_score DESC NULLS LAST) AS place, count(clip_score) OVER () AS scored
        FROM in_bounds
    ), top AS (
        SELECT * FROM ranked
        WHERE clip_score >= (SELECT min(clip_score) FROM ranked WHERE place <= ceil({top_fraction[fraction]} * scored))
    ), files AS (
        SELECT * FROM top QUALIFY row_number() OVER (PARTITION BY sha256 ORDER BY width * height DESC, uid) = 1
    ), pictures AS (
        SELECT * FROM files QUALIFY row_number() OVER (PARTITION BY pixel_sha256 ORDER BY width * height DESC, uid) = 1
    )
    SELECT uid FROM pictures ORDER BY uid
) TO '{data}/kept.parquet' (FORMAT parquet, COMPRESSION zstd)
"""


def main() -> None:
    """Measures, or is what is measured."""
    options = _options()
    if options.work:
        return query(Path(options.work))
    root = Path(tempfile.mkdtemp(prefix="select"))
    try:
        project = make_project(root, options.rows, options.rows_per_part, options.workers)
        runs = contest.hold(contenders(project), options.rounds)
        kept = pq.read_metadata(project.data / "kept.parquet").num_rows
    finally:
        shutil.rmtree(root)
    heat = Heat(title="select", rows=options.rows, runs=runs)
    facts = {
        "kept": kept,
        "kept rows": "the same ones",
        "rows_per_part": options.rows_per_part,
        "num_partitions": project.params["select"]["num_partitions"],
        "workers": options.workers,
        "recipe": [rule["rule"] for rule in project.params["select"]["rules"]],
    }
    contest.report("select", [heat], facts, options.results)
    return None


def make_project(root: Path, num_rows: int, rows_per_part: int, workers: int) -> scratch_project.Project:
    """Returns a project with signals, CLIP scores and opt-outs."""
    project = scratch_project.Project(root)
    project.run_on(workers)
    recipe = [rule for rule in project.params["select"]["rules"] if rule["rule"] not in _LOOKS]
    partitions = max(4, -(-num_rows // _ROWS_PER_PARTITION))
    settings = {"rules": recipe, "num_partitions": partitions, "on_excess": "warn"}
    project.change({"snapshots": ["s1"], "select": settings})
    synthetic_signals.write_snapshot(project.data, "s1", num_rows, rows_per_part, workers)
    synthetic_signals.write_optouts(project.data / "optouts.parquet", num_rows)
    return project


def contenders(project: scratch_project.Project) -> list[Contender]:
    """Returns duckdb and the stage, each held to the same kept rows."""
    made: list[str] = []

    def compare(path: Path) -> None:
        made.append(uids_digest(path))
        if len(set(made)) > 1:
            sys.exit(f"{path}: other rows than duckdb keeps")

    return [
        Contender(
            name="duckdb, one query",
            command=[sys.executable, __file__, "--work", str(project.folder)],
            folder=project.folder,
            finish=lambda: compare(project.data / "kept.parquet"),
        ),
        project.contender(
            "select", "all", "stage select", finish=lambda: compare(project.data / "selection/s1/kept.parquet")
        ),
    ]


def query(folder: Path) -> None:
    """Writes the uids that the recipe of a project keeps, found by duckdb."""
    import duckdb

    recipe = {rule["rule"]: rule for rule in json.loads((folder / "params.yaml").read_text())["select"]["rules"]}
    lists = {"scripts": recipe["script"]["scripts"], "languages": recipe["language"]["languages"]}
    quoted = {name: ", ".join(f"'{word}'" for word in words) for name, words in lists.items()}
    duckdb.connect().execute(_QUERY.format(data=folder / "data", address=_URL_LIKE, **quoted, **recipe))


def uids_digest(path: Path) -> str:
    """Returns a digest of the uids of a sorted file."""
    digest = hashlib.sha256()
    for batch in pq.ParquetFile(path).iter_batches(1 << 16, columns=["uid"]):
        digest.update("\n".join([*batch.column(0).to_pylist(), ""]).encode())
    return digest.hexdigest()


def _options() -> Any:
    parser = contest.parser(__doc__, rows=10_000_000, rounds=1, workers=1)
    parser.add_argument("--rows-per-part", type=int, default=10_000, help="rows of one file of signals")
    return parser.parse_args()


if __name__ == "__main__":
    main()
