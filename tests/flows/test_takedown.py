"""Takedowns and what proves them; then flow verify, on the project that came of it and on one that was damaged."""

import gzip
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from lineage import digests, records
from tests.flows import checkouts, pictures
from tests.flows.pictures import Site
from tests.flows.searching import holding
from tests.flows.server import PrefectServer
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


OTHER_HOST = "127.0.0.2"
WEB, ELSEWHERE = range(25, 32), range(40, 46)
"""Pictures of the second snapshot: some of the first one's host, some of another's."""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Another host."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pictures.write(folder, ELSEWHERE)
    with Site(folder, OTHER_HOST) as serving:
        yield serving


@pytest.fixture(scope="module")
def project(
    base: Project, server: PrefectServer, site: Site, elsewhere: Site, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A copy with a second snapshot, jsonl packed with gzip; the tests below go on from each other."""
    made = checkouts.copy(base, tmp_path_factory.mktemp("takedown"))
    listed = [(f"{site.base}/{pictures.file_name(n)}", pictures.caption(n)) for n in WEB]
    listed += [(f"{elsewhere.base}/{pictures.file_name(n)}", pictures.caption(n)) for n in ELSEWHERE]
    lines = [json.dumps({"url": url, "caption": caption}) for url, caption in listed]
    path = made.folder.parent / "s2.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join([*lines, lines[-1]]).encode()))
    made.run("python", "-m", "pipelines.snapshot", "add", str(path), "--name", "s2")
    made.repro()
    made.commit("two snapshots")
    made.env |= server.env
    return made


def runs(project: Project, stage: str) -> list[str]:
    """Returns the instances of a stage's run records, in order."""
    lines = (project.folder / "runs" / f"{stage}.jsonl").read_text().splitlines()
    return [json.loads(line)["instance"] for line in lines]


def recorded(project: Project) -> dict[str, int]:
    """Returns {stage instance: number of its run records}."""
    names = (path.stem for path in (project.folder / "runs").glob("*.jsonl") if path.stem != "takedown")
    found = (stage if of == "all" else f"{stage}@{of}" for stage in names for of in runs(project, stage))
    return Counter(found)


def manifest(project: Project) -> dict[str, str]:
    """Returns {uid: sha256 of the picture} of what is packed."""
    table = pq.read_table(project.folder / "data/shards/s1/manifest.parquet", partitioning=None)
    return dict(zip(table["uid"].to_pylist(), table["source_sha256"].to_pylist(), strict=True))


def live(project: Project, snapshot: str) -> dict[str, str]:
    """Returns {URL: uid} of the rows of a snapshot that were not taken down."""
    table = records.read_table(project.folder / "data/source" / snapshot / "source.parquet", records.SOURCE)
    return {row["url"]: row["uid"] for row in table.to_pylist() if row["url"] is not None}


def one_of_the_first_alone(project: Project) -> tuple[str, str]:
    """Returns uid and picture of a kept pair that the second snapshot does not list."""
    others = set(live(project, "s2").values())
    return next((uid, sha256) for uid, sha256 in manifest(project).items() if uid not in others)


def test_only_the_impact_is_shown_and_nothing_changes(project: Project) -> None:
    head, (_, victim) = project.run("git", "rev-parse", "HEAD").stdout, one_of_the_first_alone(project)
    done = project.run("python", "-m", "flows", "takedown", victim, "--only-impact")
    assert "Impact: 1 new opt-outs name 1 pairs" in done.stdout
    assert project.run("git", "rev-parse", "HEAD").stdout == head
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert list((project.folder / ".worktrees").glob("*")) == []


def test_what_is_taken_down_is_in_no_shard_and_no_model_and_is_recorded(project: Project) -> None:
    before, ran = manifest(project), recorded(project)
    uid, victim = one_of_the_first_alone(project)
    foretold = json.loads(project.run("python", "-m", "lineage", "impact", victim, "--json").stdout)
    assert foretold["models"][0]["pairs"] == foretold["kept"] == 1
    done = project.run("python", "-m", "flows", "takedown", victim, "--reference", "letter 17")
    rerun = {name for name, number in recorded(project).items() if number != ran[name]}
    assert {stage["stage"] for stage in foretold["stages"] if stage["is_certain"]} <= rerun
    assert rerun <= {stage["stage"] for stage in foretold["stages"]}
    assert "TakenDown: 1 pairs, 1 kept before" in done.stdout
    assert set(manifest(project)) == set(before) - {uid}
    seen = pq.read_table(project.folder / "models/clip-0/exposure.parquet", partitioning=None)["uid"].to_pylist()
    assert seen
    assert uid not in seen
    (line,) = (project.folder / "runs/takedown.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert record["optouts"] == [f"sha256:{victim}"]
    assert record["touched"]["models"]["clip-0"]["pairs"] == 1
    assert record["reference"] == "letter 17"
    assert "letter 17" in project.run("git", "log", "-1", "--format=%s").stdout
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.repro() == []


def test_of_urls_and_a_host_nothing_is_left_but_in_the_old_revision(
    project: Project, site: Site, elsewhere: Site
) -> None:
    all_urls = {n: f"{site.base}/{pictures.file_name(n)}" for n in checkouts.LISTED["s1"]}
    numbers = [n for n, url in all_urls.items() if url in live(project, "s1")]
    urls = {n: all_urls[n] for n in (*numbers[:2], WEB[2])}
    letter, hosts = (project.folder.parent / name for name in ("letter.txt", "hosts.parquet"))
    letter.write_text("\n".join([*urls.values(), f"{site.base}/missing.png"]) + "\n")
    row = {"kind": "host_sha256", "value": digests.sha256_bytes(OTHER_HOST.encode())}
    records.write_table(records.rows_table([row], records.OPTOUTS), hosts)
    wanted = {f"url {n}": url.encode() for n, url in urls.items()}
    wanted |= {"url missing": b"/missing.png", "host": OTHER_HOST.encode()}
    wanted |= {f"caption {n}": pictures.caption(n).encode() for n in (*urls, *ELSEWHERE)}
    contents = {n: (site.folder / pictures.file_name(n)).read_bytes() for n in urls}
    contents |= {n: (elsewhere.folder / pictures.file_name(n)).read_bytes() for n in ELSEWHERE}
    wanted |= {f"picture {n}": content for n, content in contents.items()}
    wanted |= {f"half of picture {n}": content[len(content) // 2 :] for n, content in contents.items()}
    assert set(holding(project.folder, wanted)) == set(wanted)
    head, before = project.run("git", "rev-parse", "HEAD").stdout.strip(), manifest(project)
    counts = {stage: runs(project, stage).count("s1") for stage in ("source", "download")}
    evaluated = len(runs(project, "evaluate"))
    shutil.copytree(project.folder / "store", project.folder.parent / "store before")

    done = project.run("python", "-m", "flows", "takedown", str(letter), str(hosts))
    assert "TakenDown: 11 pairs" in done.stdout
    assert "dvc gc --workspace" in done.stdout + done.stderr
    assert "0 URLs asked of the web" in done.stdout + done.stderr
    assert holding(project.folder, wanted) == {}
    assert all(runs(project, stage).count("s1") == number + 1 for stage, number in counts.items())
    assert len(runs(project, "evaluate")) == evaluated + 1, "metrics are of the new models"
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.repro() == []
    check_counts(project)

    lock = yaml.safe_load(project.run("git", "show", f"{head}:dvc.lock").stdout)
    (out,) = [out for out in lock["stages"]["pack@s1"]["outs"] if out["path"] == "data/shards/s1"]
    cache = project.folder / ".dvc/cache/files/md5"
    listed = json.loads((cache / out["md5"][:2] / out["md5"][2:]).read_text())
    (md5,) = [entry["md5"] for entry in listed if entry["relpath"] == "manifest.parquet"]
    old = pq.read_table(cache / md5[:2] / md5[2:], partitioning=None)
    assert set(old["uid"].to_pylist()) == set(before), "the old revision tells its own story"


def check_counts(project: Project) -> None:
    """Asserts that every row of both lists is accounted for, those taken down as tombstones."""
    for name, num_gone in (("s1", 5), ("s2", 7)):
        told = {
            stage: json.loads((project.folder / f"provenance/{stage}/{name}.json").read_text())["counts"]
            for stage in ("source", "download", "measure")
        }
        gone = records.read_table(project.folder / "data/lists" / name / "opted_out.parquet")
        assert gone.num_rows == num_gone
        rows = records.read_table(project.folder / "data/source" / name / "source.parquet", records.SOURCE)
        empty = [row for row in rows.to_pylist() if row["url"] is None]
        assert [{name: row[name] for name in gone.column_names} for row in empty] == gone.to_pylist()
        assert {name for row in empty for name, value in row.items() if value is not None} == set(gone.column_names)
        assert rows.num_rows == told["source"]["kept"] == told["download"]["rows_in"] == told["measure"]["rows_in"]
        assert told["download"]["failed"]["opt_out"] == told["measure"]["failed"]["opt_out"] == num_gone


def test_a_purge_of_the_store_that_was_cut_off_is_ended_by_the_next_run(project: Project) -> None:
    shutil.rmtree(project.folder / "store")
    shutil.move(project.folder.parent / "store before", project.folder / "store")
    wanted = {"host": OTHER_HOST.encode()}
    assert holding(project.folder, wanted)
    assert "NothingNew" in project.run("python", "-m", "flows", "takedown", OTHER_HOST, "--kind", "host").stdout
    assert holding(project.folder, wanted) == {}


def test_the_command_that_is_told_takes_it_out_of_the_cache(project: Project, elsewhere: Site) -> None:
    copied = checkouts.copy(project, project.folder.parent / "collected")
    number = ELSEWHERE[1]
    wanted = {"host": OTHER_HOST.encode(), "caption": pictures.caption(number).encode()}
    wanted["picture"] = (elsewhere.folder / pictures.file_name(number)).read_bytes()
    assert set(holding(copied.folder, wanted, (".dvc",))) >= {"caption", "picture"}
    copied.run("python", "-m", "dvc", "gc", "--workspace", "--force")
    assert holding(copied.folder, wanted, (".dvc",)) == {}
    for text in (OTHER_HOST, pictures.caption(number)):
        assert copied.run("git", "log", "--all", "--text", "-S", text, "--format=%H").stdout == ""
    assert copied.repro() == []


def test_what_was_taken_down_before_is_nothing_new(project: Project) -> None:
    first = (project.folder / "runs/takedown.jsonl").read_text().splitlines()[0]
    victim = json.loads(first)["optouts"][0].partition(":")[2]
    assert "NothingNew" in project.run("python", "-m", "flows", "takedown", victim).stdout


def test_what_is_no_opt_out_is_told_and_leaves_no_worktree_in_the_way(project: Project) -> None:
    done = project.run("python", "-m", "flows", "takedown", "--", "--help", check=False)
    assert done.returncode == 1
    assert "neither a URL nor a hash" in done.stderr
    assert list((project.folder / ".worktrees").glob("*")) == []
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_a_letter_that_names_nothing_is_told(project: Project, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("\n")
    done = project.run("python", "-m", "flows", "takedown", str(tmp_path / "letter.txt"), check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"error: optouts: {tmp_path / 'letter.txt'}: names nothing"


def test_verify_finds_all_well_and_then_names_what_was_damaged(project: Project) -> None:
    assert "Verified" in project.run("python", "-m", "flows", "verify").stdout
    shard = next(Path(project.folder / "data/shards/s1/train").glob("*.tar"))
    content = shard.read_bytes()
    shard.unlink()  # by another file: the cache may share its blocks
    shard.write_bytes(content[:-1] + b"x")
    done = project.run("python", "-m", "flows", "verify", check=False)
    assert done.returncode == 1
    assert "error: Broken: " in done.stderr
    assert "data/shards/s1" in done.stderr
    shard.write_bytes(content)
    records = project.folder / "runs/select.jsonl"
    lines = records.read_text()
    records.write_text(lines.replace('"seconds": ', '"seconds": 1'))
    assert "runs/select.jsonl" in project.run("python", "-m", "flows", "verify", check=False).stderr + lines
    records.write_text(lines)
