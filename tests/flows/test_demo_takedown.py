"""Fifty links of every fate and one host taken down from a clone of the demo as `make demo` left it in this checkout.

`pytest -s` prints the figures.
"""

import dataclasses
import html
import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from pipelines import tar
from tests.flows.searching import holding
from tests.flows.server import PrefectServer
from tests.project import Project

ROOT = Path(__file__).resolve().parents[2]
SEED, NUM_URLS = 17, 50
HOST = "cdn.demo.test"
FATES = {
    "kept": "keep",
    "duplicate": "reason like 'duplicate_%'",
    "seen before": "reason = 'seen_before'",
    "opted out": "reason in ('opt_out', 'robots_disallowed', 'tdm_reserved')",
    "test picture": "reason = 'test_picture'",
    "failed": "not keep and reason in ('http_404', 'http_410', 'not_an_image', 'truncated', 'dns', 'empty_body')",
    "dropped": "not keep and rule is not null and reason not like 'duplicate_%'",
}
DEMO = Path("data/demo")
"""The demo's own web: nothing of the project."""
MIN_CHARS = 8
"""Shorter words stand anywhere."""

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(4 * 3600),
    pytest.mark.skipif(
        not all((ROOT / name).exists() for name in (DEMO / "site", "store/fetch", "data/raw", "models")),
        reason="`make demo` has not run in this checkout",
    ),
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TakenDown:
    """A takedown that was, and what was there before it."""

    project: Project
    urls: list[str]
    gone: dict[str, set[str]]
    """{snapshot: uids}."""
    wanted: dict[str, bytes]
    """{what: URL, caption or picture of theirs}."""
    before: str
    """The revision."""
    counts: dict[str, dict[str, Any]]
    """{provenance file: counts} of that revision."""
    runs: Counter[str]
    answers: dict[str, Any]
    """{URL: what who-saw said}."""
    foretold: dict[str, Any]
    """What impact said."""
    said: str


def cloned(folder: Path) -> Project:
    """Returns a clone of this checkout with all its data and store, and with a cache of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder / "checkout")], check=True)
    project = Project(folder / "checkout")
    for key, value in (("user.name", "test"), ("user.email", "test@example.com")):
        project.run("git", "config", key, value)
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    cache = subprocess.run(command, cwd=ROOT, env=project.env, capture_output=True, text=True, check=True).stdout
    project.run("python", "-m", "dvc", "remote", "add", "--local", "demo", cache.strip())
    project.run("python", "-m", "dvc", "pull", "--quiet", "--remote", "demo")
    for name in ("store", DEMO):
        shutil.copytree(ROOT / name, project.folder / name, dirs_exist_ok=True)
    return project


def asked(project: Project, query: str) -> list[tuple[Any, ...]]:
    """Returns what a query over the project's data answers; {data} stands for their folder."""
    found: list[tuple[Any, ...]] = duckdb.sql(query.replace("{data}", str(project.folder / "data"))).fetchall()
    return found


def drawn(project: Project) -> list[str]:
    """Returns links of every fate, drawn at random, none of the host that goes."""
    draw, urls = random.Random(SEED), list[str]()
    verdicts = "'{data}/selection/*/verdicts.parquet'"
    source = "select distinct url from '{data}/source/*/source.parquet'"
    for where in FATES.values():
        uids = f"select uid from {verdicts} where {where}"  # noqa: S608 - no outside text in it
        found = asked(project, f"{source} where host != '{HOST}' and uid in ({uids}) order by 1")
        assert found, f"the demo has none: {where}"
        urls += draw.sample([url for (url,) in found if url not in urls], min(len(found), NUM_URLS // len(FATES)))
    rest = [url for (url,) in asked(project, f"{source} where host != '{HOST}' order by 1") if url not in urls]
    return urls + draw.sample(rest, NUM_URLS - len(urls))


def rows_of(project: Project, urls: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yields (snapshot, uid, URL, caption) of the rows that links, or the host, name."""
    source = "read_parquet('{data}/source/*/source.parquet', filename = true)"
    query = f"select parse_path(filename)[-2], uid, url, caption, host from {source}"  # noqa: S608 - as above
    for snapshot, uid, url, caption, host in asked(project, query):
        if url in urls or host == HOST:
            yield snapshot, uid, url, caption


def pictures(project: Project, gone: dict[str, set[str]]) -> Iterator[tuple[str, bytes]]:
    """Yields (sha256, bytes) of the pictures of some rows that no other row has."""
    source = "read_parquet('{data}/raw/*/ledger.parquet', filename = true) where sha256 is not null"
    ledger = asked(project, f'select parse_path(filename)[-2], uid, sha256, shard, "offset", bytes from {source}')  # noqa: S608
    others = {sha256 for snapshot, uid, sha256, *_ in ledger if uid not in gone[snapshot]}
    for snapshot, uid, sha256, shard, offset, num_bytes in ledger:
        if uid in gone[snapshot] and sha256 not in others:
            with (project.folder / "data/raw" / snapshot / tar.shard_name(shard)).open("rb") as file:
                file.seek(offset)
                yield sha256, file.read(num_bytes)


def told_texts(project: Project, urls: list[str]) -> dict[str, bytes]:
    """Returns {what: spelling} of the URLs and captions of the rows that go and of none that stays."""
    rows = list(rows_of(project, urls))
    uids = {uid for _, uid, _, _ in rows}
    stay = [
        text
        for uid, *texts in asked(project, "select uid, url, caption from '{data}/source/*/source.parquet'")
        if uid not in uids
        for text in texts
    ]
    rejects = asked(project, "select url, caption from '{data}/source/*/rejects.parquet'")
    stay += [text or "" for url, caption in rejects if HOST not in (url or "") for text in (url, caption)]
    stay += [
        text or ""
        for texts in asked(
            project, "select concept, name, caption, subcategory, category from '{data}/sets/emoji/*.parquet'"
        )
        for text in texts
    ]
    joined, wanted = "\n".join(stay), dict[str, bytes]()
    texts = {("URL", url) for _, _, url, _ in rows} | {("caption", caption) for _, _, _, caption in rows}
    texts |= {("rejected URL", url) for url, _ in rejects if HOST in (url or "")}
    for kind, text in sorted(texts):
        if text not in joined and len(text) >= MIN_CHARS:
            for spelled in {text, json.dumps(text)[1:-1], html.escape(text)}:
                wanted[f"{kind} {spelled}"] = spelled.encode()
    return wanted


def provenance(project: Project) -> dict[str, dict[str, Any]]:
    """Returns {file: counts}."""
    found = sorted((project.folder / "provenance").glob("*/*.json"))
    return {f"{path.parent.name}/{path.stem}": json.loads(path.read_text())["counts"] for path in found}


def runs(project: Project) -> Counter[str]:
    """Returns {stage instance: number of its run records}."""
    lines = [line for path in (project.folder / "runs").glob("*.jsonl") for line in path.read_text().splitlines()]
    return Counter("{stage}/{instance}".format(**json.loads(line)) for line in lines)


def who_saw(project: Project, url: str, *words: str) -> Any:
    """Returns what who-saw answers, without the names of the revisions."""
    said = json.loads(project.run("python", "-m", "lineage", "who-saw", url, "--json", *words).stdout)
    return [{name: value for name, value in answer.items() if name != "revisions"} for answer in said["answers"]]


@pytest.fixture(scope="module")
def taken_down(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> TakenDown:
    project = cloned(tmp_path_factory.mktemp("demo"))
    project.env |= server.env
    urls = drawn(project)
    gone: dict[str, set[str]] = {path.name: set() for path in (project.folder / "data/source").iterdir()}
    for snapshot, uid, _, _ in rows_of(project, urls):
        gone[snapshot].add(uid)
    wanted = told_texts(project, urls) | {f"picture {sha256}": found for sha256, found in pictures(project, gone)}
    before = project.run("git", "rev-parse", "HEAD").stdout.strip()
    told: dict[str, Any] = {
        "counts": provenance(project),
        "runs": runs(project),
        "answers": {url: who_saw(project, url, "--no-history") for url in urls[::7]},
    }
    assert {name for name in wanted if not name.startswith("rejected")} - set(search(project, wanted)) <= {
        name for name in wanted if "\\" in name or "&" in name
    }, "what is looked for is there, but for spellings"
    letter = project.folder.parent / "letter.txt"
    letter.write_text("\n".join([*urls, HOST]) + "\n")
    told["foretold"] = json.loads(project.run("python", "-m", "lineage", "impact", str(letter), "--json").stdout)
    done = project.run("python", "-m", "flows", "takedown", str(letter), "--reference", "a soak")
    return TakenDown(
        project=project, urls=urls, gone=gone, wanted=wanted, before=before, said=done.stdout + done.stderr, **told
    )


def search(project: Project, wanted: dict[str, bytes]) -> dict[str, list[str]]:
    """Returns {what: files} of the project that hold it, the demo's own web left out."""
    return holding(project.folder, wanted, leave_out=[str(DEMO)])


def test_nothing_is_left_of_them(taken_down: TakenDown, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(taken_down.project, taken_down.wanted) == {}
    kinds = Counter(name.partition(" ")[0] for name in taken_down.wanted)
    told = next(line for line in taken_down.said.splitlines() if line.startswith("TakenDown"))
    rows = {name: len(uids) for name, uids in taken_down.gone.items()}
    with capsys.disabled():
        print(f"\n{told}\nlooked for: {dict(kinds)}; rows: {rows}")  # noqa: T201 - shown with -s


def test_every_row_is_accounted_for(taken_down: TakenDown) -> None:
    project, now = taken_down.project, provenance(taken_down.project)
    for name, counts in now.items():
        assert counts["rows_in"] == counts["kept"] + sum(counts["dropped"].values()) + sum(counts["failed"].values()), (
            name
        )
    for snapshot, uids in taken_down.gone.items():
        folder = project.folder / "data"
        assert set(pq.read_table(folder / "lists" / snapshot / "opted_out.parquet")["uid"].to_pylist()) == uids
        empty = f"select uid from '{{data}}/source/{snapshot}/source.parquet' where url is null"  # noqa: S608 - as above
        assert {uid for (uid,) in asked(project, empty)} == uids
        old = taken_down.counts
        assert now[f"source/{snapshot}"]["kept"] == old[f"source/{snapshot}"]["kept"]
        for stage in ("download", "measure", "trail"):
            assert now[f"{stage}/{snapshot}"]["rows_in"] == old[f"{stage}/{snapshot}"]["rows_in"]


def test_the_evaluation_set_lost_the_pictures_and_metrics_are_those_without_them(
    taken_down: TakenDown, capsys: pytest.CaptureFixture[str]
) -> None:
    project, now, old = taken_down.project, provenance(taken_down.project), taken_down.counts
    taken = dict(asked(project, "select part, sum(rows)::int from '{data}/sets/emoji/opted_out.parquet' group by 1"))
    assert {"emoji": taken} == taken_down.foretold["sets"]
    parts = {part: number - taken.get(part, 0) for part, number in old["benchmarks/emoji"]["parts"].items()}
    assert now["benchmarks/emoji"]["parts"] == parts
    assert now["benchmarks/emoji"]["rows_in"] == old["benchmarks/emoji"]["rows_in"]
    assert now["benchmarks/emoji"]["dropped"] == {"opt_out": sum(taken.values())}
    tests = asked(project, "select sha256 from '{data}/benchmarks/emoji/test_hashes.parquet'")
    assert not {f"picture {sha256}" for (sha256,) in tests} & set(taken_down.wanted)
    assert len(tests) == now["embed_tests/emoji"]["rows_in"]
    models = [name for name in old if name.startswith("evaluate/")]
    assert all(runs(project)[name] == taken_down.runs[name] + 1 for name in models)
    for name in models:
        assert now[name]["rows_in"] == sum(parts.values())
    with capsys.disabled():
        print(f"\nrows of the evaluation set: {taken}")  # noqa: T201 - shown with -s


def test_the_old_revision_tells_its_own_story(taken_down: TakenDown) -> None:
    for url, told in taken_down.answers.items():
        assert who_saw(taken_down.project, url, "--rev", taken_down.before) == told
        assert not any(
            answer["kept"] or answer["models"] for answer in who_saw(taken_down.project, url, "--no-history")
        )
    assert any(answer["models"] for told in taken_down.answers.values() for answer in told)


def test_it_touched_what_was_foretold(taken_down: TakenDown) -> None:
    foretold, now = taken_down.foretold, runs(taken_down.project)
    assert foretold["pairs"] == sum(map(len, taken_down.gone.values()))
    stages = {
        f"{word}/{instance or 'all'}" for word, _, instance in (s["stage"].partition("@") for s in foretold["stages"])
    }
    rerun = {
        name for name, number in now.items() if number > taken_down.runs[name] and not name.startswith("takedown/")
    }
    assert rerun <= stages


def test_nothing_is_broken_after(taken_down: TakenDown, capsys: pytest.CaptureFixture[str]) -> None:
    project = taken_down.project
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.repro() == []
    said = project.run("python", "-m", "lineage", "verify").stdout
    assert " 0 broken" in said
    with capsys.disabled():
        print(f"\n{said.splitlines()[-1]}")  # noqa: T201 - shown with -s
