"""who-saw and why on the demo, against a recount straight from the lists, the shards and the exposure files."""

import csv
import hashlib
import json
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lineage.questions import holdings, subjects, who_saw, why
from lineage.questions.holdings import Holdings

ROOT = Path(__file__).resolve().parent.parent
NUM_URLS = 100
GROUPS = {
    "kept": "keep",
    "duplicate": "reason like 'duplicate_%'",
    "seen_before": "reason = 'seen_before'",
    "opted_out": "reason in ('opt_out', 'robots_disallowed', 'tdm_reserved', 'opted_out')",
    "failed": "not keep and reason in ('http_404', 'http_410', 'not_an_image', 'truncated', 'dns', 'empty_body')",
    "dropped": "not keep and rule is not null and reason not like 'duplicate_%'",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / "data/audit/graph.json").exists(), reason="`make demo` has not run in this checkout"
    ),
]

Listed = dict[str, dict[str, set[str]]]
"""{snapshot: {url: captions}}"""


@pytest.fixture(scope="module")
def held() -> Holdings:
    return holdings.at(ROOT)


@pytest.fixture(scope="module")
def listed() -> Listed:
    found: Listed = {}
    for folder in sorted(path for path in (ROOT / "data/lists").iterdir() if path.is_dir()):
        links = found.setdefault(folder.name, {})
        for row in _rows(folder):
            if row.get("url") and row.get("caption"):
                links.setdefault(row["url"], set()).add(row["caption"])
    return found


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            yield from csv.DictReader(file)
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(row, dict):
                yield {"url": row.get("URL"), "caption": row.get("TEXT")}


@pytest.fixture(scope="module")
def members() -> dict[tuple[str, str], tuple[str, int, str]]:
    """{(snapshot, uid): (shard, offset of the picture, its sha256)} of every member of every shard."""
    found = {}
    for path in sorted((ROOT / "data/shards").glob("*/*/*.tar")):
        with tarfile.open(path) as shard:
            for member in shard:
                uid, _, extension = member.name.partition(".")
                if extension not in ("txt", "json"):
                    content = shard.extractfile(member)
                    assert content is not None
                    place = (f"{path.parent.name}/{path.name}", hashlib.sha256(content.read()).hexdigest())
                    found[path.parents[1].name, uid] = (place[0], member.offset_data, place[1])
    return found


@pytest.fixture(scope="module")
def exposures() -> dict[str, dict[tuple[str, str], int]]:
    """{model: {(snapshot, uid): times}}"""
    found = {}
    for path in sorted((ROOT / "models").glob("*/exposure.parquet")):
        rows = duckdb.sql(f"select snapshot, uid, count from '{path}'").fetchall()  # noqa: S608
        found[path.parent.name] = {(snapshot, uid): count for snapshot, uid, count in rows if count}
    return found


@pytest.fixture(scope="module")
def chosen() -> list[str]:
    """Links of every fate, drawn at random."""
    draw = random.Random(6)
    urls: list[str] = []
    for where in GROUPS.values():
        query = f"""
            select distinct source.url from '{ROOT}/data/selection/*/verdicts.parquet' as verdict
            join '{ROOT}/data/source/*/source.parquet' as source using (uid) where {where} order by 1
        """  # noqa: S608
        found = [url for (url,) in duckdb.sql(query).fetchall()]
        assert found, f"the demo has none: {where}"
        urls += draw.sample(found, min(len(found), NUM_URLS // len(GROUPS)))
    query = f"select distinct url from '{ROOT}/data/source/*/source.parquet' order by 1"  # noqa: S608
    rest = [url for (url,) in duckdb.sql(query).fetchall()]
    return urls + draw.sample(rest, NUM_URLS - len(urls))


def test_who_saw_agrees_with_a_recount(
    held: Holdings, listed: Listed, members: Any, exposures: Any, chosen: list[str]
) -> None:
    for url in chosen:
        told = who_saw.answer(who_saw.reached(subjects.parse(url, "url", ROOT), held), most=1000)
        expected = {(name, _uid(url, caption)) for name, links in listed.items() for caption in links.get(url, ())}
        assert {(pair["snapshot"], pair["uid"]) for pair in told["pairs"]} == expected, url
        kept = expected & set(members)
        assert told["kept"] == len(kept), url
        for pair in told["pairs"]:
            key = pair["snapshot"], pair["uid"]
            seen = {model: counts[key] for model, counts in exposures.items() if key in counts}
            assert pair["times"] == seen, url
            assert (pair["shard"], pair["key"]) == ((members[key][0], key[1]) if key in members else (None, None)), url
        summed = {model: sum(counts.get(key, 0) for key in expected) for model, counts in exposures.items()}
        assert {seen["model"]: seen["times"] for seen in told["models"]} == {
            model: times for model, times in summed.items() if times
        }, url


def test_why_agrees_with_a_recount(
    held: Holdings, listed: Listed, members: Any, exposures: Any, chosen: list[str]
) -> None:
    verdicts = {
        (name, uid): (reason, rule)
        for name in held.snapshots
        for uid, reason, rule in duckdb.sql(
            f"select uid, reason, rule from '{ROOT}/data/selection/{name}/verdicts.parquet'"  # noqa: S608
        ).fetchall()
    }
    for url in chosen:
        reached = who_saw.reached(subjects.parse(url, "url", ROOT), held)
        for snapshot, found in reached.found.items():
            for row in found.row_n:
                told = why.why(held, snapshot, int(row))
                steps = {step["step"]: step for step in told["steps"]}
                key = snapshot, told["uid"]
                assert steps["list"]["url"] == url
                assert steps["list"]["caption"] in listed[snapshot][url]
                assert told["kept"] == (key in members)
                assert (told["reason"], steps["select"]["rule"]) == verdicts[key]
                fatal = [rule["rule"] for rule in steps["select"]["rules"] if rule["outcome"] == "dropped by it"]
                outside = (None, "seen_before", "download", "measure", "embed")
                assert fatal == ([] if verdicts[key][1] in outside else [verdicts[key][1]])
                if key in members:
                    shard, offset, digest = members[key]
                    assert (steps["shard"]["shard"], steps["shard"]["sha256"]) == (shard, digest)
                    assert steps["download"]["sha256"] == digest
                    assert steps["shard"]["offset"] == offset
                times = {model: times for model, times in steps["exposure"]["times"].items() if times}
                assert times == {model: counts[key] for model, counts in exposures.items() if key in counts}


def _uid(url: str, caption: str) -> str:
    return hashlib.sha256(f"{url}\0{caption}".encode()).hexdigest()[:32]
