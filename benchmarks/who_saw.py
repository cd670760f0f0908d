"""How long who-saw and why take over many pairs, against DuckDB asked the same of the same records.

    python benchmarks/who_saw.py [--rows 10000000] [--questions 200]

Warm: questions one after the other in one process, drawn at random, so that each touches other pages. Cold: the command
line in a fresh process, after the records have left the page cache. A picture file is asked for by bytes nobody has, so
that every look is compared. Both sides must name the same pairs.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import contest
from contest import ROOT, Contender, Heat

sys.path.insert(0, str(ROOT))
import duckdb
import synthetic_trail
from synthetic_trail import SNAPSHOT

from lineage.questions import holdings, subjects, who_saw, why
from lineage.questions.subjects import Subject

_BASELINE_QUESTIONS = 10
_COLUMNS = {"url": "url_sha256", "uid": "uid", "sha256": "sha256"}
_SOME_HOSTS = (0, 100, 40_000)
"""By the number of their rows: the largest, a middling and a small one."""


def main() -> None:
    """Measures."""
    parser = contest.parser(__doc__, rows=10_000_000, rounds=3)
    parser.add_argument("--questions", type=int, default=200, help="of each kind, default 200")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as scratch:
        root = Path(scratch) / "project"
        contest.say(f"laying down {options.rows} pairs")
        built = synthetic_trail.lay_down(root, options.rows)
        contest.say(f"built in {built}")
        drawn = list(synthetic_trail.subjects(root, options.rows, options.questions, seed=1))
        facts = {
            **{f"build {name}, s per 10^7 rows": round(took * 1e7 / options.rows, 1) for name, took in built.items()},
            "trail, bytes a row": round(_size(root / "data/trail") / options.rows, 1),
            "exposures of 3 models, bytes a row": round(_size(root / "data/audit") / options.rows, 2),
            "records asked, bytes a row": round(_size(root / "data") / options.rows, 1),
            **warm(root, drawn),
        }
        heat = cold(root, drawn, options.rounds, options.rows)
    contest.report("who_saw", [heat], facts, options.results)


def warm(root: Path, drawn: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns p50 and p99, in milliseconds, of every kind of question, and of DuckDB."""
    held = holdings.at(root)
    facts: dict[str, Any] = {}
    for kind in _COLUMNS:
        texts = [row[kind] for row in drawn]
        asked = [subjects.parse(text, kind, root) for text in texts]  # type: ignore[arg-type]
        facts |= _timed(f"who-saw {kind}", lambda subject: _who_saw(held, subject), asked)
        facts |= _timed(f"why {kind}", lambda subject: _why(held, subject), asked)
        facts |= _timed(f"DuckDB {kind}", lambda row, kind=kind: _duckdb(root, kind, row), drawn[:_BASELINE_QUESTIONS])
        for row, subject in zip(drawn[:_BASELINE_QUESTIONS], asked, strict=False):
            ours = {pair["uid"] for pair in _who_saw(held, subject)["pairs"]}
            assert ours == _duckdb(root, kind, row), (kind, row)
    for host in _SOME_HOSTS:
        subject = subjects.parse(f"host{host}.test", "domain", root)
        rows = who_saw.reached(subject, held).num_rows
        facts |= _timed(f"domain of {rows} rows, counts", lambda one: who_saw.count(one, held), [subject] * 20)
        facts |= _timed(f"domain of {rows} rows, all", lambda one: _who_saw(held, one), [subject] * 5)
    looks = [Subject(kind="picture", text="", digest="0" * 64, look=int(row["phash"], 16)) for row in drawn[:10]]
    return facts | _timed("picture by its look", lambda subject: _who_saw(held, subject), looks)


def cold(root: Path, drawn: list[dict[str, Any]], rounds: int, num_rows: int) -> Heat:
    """Returns the command line in fresh processes after the page cache was emptied, DuckDB's first."""
    row = drawn[0]
    query = f"import duckdb; print(duckdb.sql({_query(root, 'url', row)!r}).fetchall())"

    def forget() -> None:
        for path in (path for path in root.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def ours(question: str) -> Contender:
        command = [sys.executable, "-m", "lineage", question, row["url"]]
        return Contender(name=question, command=command, folder=root, environment=environment, prepare=forget)

    environment = {"PYTHONPATH": str(ROOT)}
    baseline = Contender(name="DuckDB", command=[sys.executable, "-c", query], prepare=forget)
    runs = contest.hold([baseline, ours("who-saw"), ours("why")], rounds)
    return Heat(title="cold, a link, the whole command", rows=num_rows, runs=runs, goal="less than 1 s")


def _timed(name: str, ask: Callable[[Any], Any], subjects: Iterable[Any]) -> dict[str, str]:
    took = []
    for subject in subjects:
        begun = time.perf_counter()
        ask(subject)
        took.append(1e3 * (time.perf_counter() - begun))
    took.sort()
    p99 = took[min(len(took) - 1, int(0.99 * len(took)))]
    told = f"{statistics.median(took):.2f} / {p99:.2f}"
    contest.say(f"{name}: {told}")
    return {f"{name}, p50 / p99 ms": told}


def _who_saw(held: holdings.Holdings, subject: Subject) -> dict[str, Any]:
    return who_saw.answer(who_saw.reached(subject, held))


def _why(held: holdings.Holdings, subject: Subject) -> list[dict[str, Any]]:
    found = who_saw.reached(subject, held).found[SNAPSHOT]
    return [why.why(held, SNAPSHOT, int(row)) for row in found.row_n]


def _duckdb(root: Path, kind: str, row: dict[str, Any]) -> set[str]:
    return {uid for uid, *_ in duckdb.sql(_query(root, kind, row)).fetchall()}


def _query(root: Path, kind: str, row: dict[str, Any]) -> str:
    column = _COLUMNS[kind]
    value = subjects.parse(row[kind], kind, root).digest  # type: ignore[arg-type]
    return f"""
        select signals.uid, verdict.reason, manifest.shard, manifest.offset
        from '{root}/data/signals/{SNAPSHOT}/*.parquet' as signals
        join '{root}/data/selection/{SNAPSHOT}/verdicts.parquet' as verdict using (uid)
        left join '{root}/data/shards/{SNAPSHOT}/manifest.parquet' as manifest using (uid)
        where signals.{column} = '{value}'
    """  # noqa: S608 - our own text


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
