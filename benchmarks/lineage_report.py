"""The lineage report of many pairs: what its build takes, what the first page weighs, how fast a question is answered.

    python benchmarks/lineage_report.py [--rows 1000000] [--questions 25]

Builds the report of made-up manifests in a fresh process, of a tenth of the rows first, which shows how memory grows.
Opens it from file:// in headless Chromium and asks for uids, links, digests (of a picture, a link or a host: all three
are looked up) and domains, each question on a page loaded anew. Bytes are those of the files that the browser
asks for; seconds run from the question to the answer in the page.
"""

import argparse
import asyncio
import contextlib
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import contest
import measure_run
from contest import Contender, Heat

sys.path.insert(0, str(contest.ROOT))
import synthetic_records

from lineage.site import build, holding
from tests import chromium

FIRST_PAGE_BYTES = 2_000_000
QUERY_BYTES = 1_000_000
QUERY_S = 1.0
_ASK = """new Promise((resolve) => {
  const answer = document.getElementById('answer');
  const start = performance.now();
  new MutationObserver(() => {
    if (answer.dataset.state === 'done') resolve([performance.now() - start, answer.innerText]);
    if (answer.dataset.state === 'failed') throw new Error(answer.innerText);
  }).observe(answer, {attributes: true});
  location.hash = %r;
})"""


def main() -> None:
    """Measures, or is what is measured."""
    options = _options()
    if options.work:
        with contextlib.chdir(options.work):
            made = build.build(holding.holding(Path.cwd(), None), Path("report-lineage"))
        return measure_run.answer(**made.as_json())
    if not chromium.is_there():
        sys.exit("error: no chromium: `apt-get install chromium`")
    heats = []
    for num_rows in (options.rows // 10, options.rows):
        folder = Path(tempfile.mkdtemp(prefix="lineage_report"))
        try:
            project = folder / "project"
            some = synthetic_records.make_project(project, num_rows)
            command = [sys.executable, __file__, "--work", str(project)]
            runs = contest.hold([Contender(name="lineage report", command=command)], options.rounds)
            heats.append(Heat(title=f"build, {num_rows} pairs", rows=num_rows, runs=runs))
            facts = asyncio.run(_asked(project / "report-lineage", some, options.questions))
            built = runs["lineage report"][-1].answer
            facts["report"] = {key: built[key] for key in ("files", "bytes", "opted_out")}
        finally:
            shutil.rmtree(folder)
    contest.report("lineage_report", heats, facts, options.results)
    return None


async def _asked(report: Path, some: list[dict[str, Any]], num_questions: int) -> dict[str, Any]:
    """Returns what the browser says: by kind of question bytes and seconds, the largest and the median."""
    facts: dict[str, Any] = {}
    async with chromium.tab() as tab:
        page = (report / "index.html").resolve().as_uri()
        await tab.open(page)
        facts["first page"] = {"bytes": _bytes(tab.requests), "goal": FIRST_PAGE_BYTES}
        for kind, questions in _questions(some, num_questions):
            weights, seconds = [], []
            for question, expected in questions:
                await tab.open(page)
                tab.requests.clear()
                took_ms, text = await tab.value(_ASK % f"#{kind}={quote(question, safe='')}")
                if expected not in text:
                    sys.exit(f"{kind} {question}: the answer lacks {expected}: {text[:500]}")
                weights.append(_bytes(tab.requests))
                seconds.append(took_ms / 1000)
            facts[kind] = {
                "questions": len(seconds),
                "bytes_most": max(weights),
                "bytes_goal": QUERY_BYTES,
                "s_median": round(statistics.median(seconds), 4),
                "s_most": round(max(seconds), 4),
                "s_goal": QUERY_S,
            }
        if tab.complaints:
            sys.exit(f"the browser complains: {tab.complaints[:3]}")
    return facts


def _questions(some: list[dict[str, Any]], number: int) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yields (kind, [(question, a word of the answer)])."""
    rows = some[:: max(len(some) // number, 1)][:number]
    yield "uid", [(row["uid"], row["uid"]) for row in rows]
    yield "url", [(row["url"], row["uid"]) for row in rows]
    yield "sha256", [(row["url_sha256"], row["uid"]) for row in rows]
    yield "domain", [(row["host"].partition(".")[2], "rows of the lists") for row in rows]


def _bytes(urls: list[str]) -> int:
    return sum(Path(unquote(urlsplit(url).path)).stat().st_size for url in urls if url.startswith("file:"))


def _options() -> argparse.Namespace:
    parser = contest.parser(__doc__, rows=1_000_000, rounds=1)
    parser.add_argument("--questions", type=int, default=25, help="of each kind, default 25")
    return parser.parse_args()


if __name__ == "__main__":
    main()
