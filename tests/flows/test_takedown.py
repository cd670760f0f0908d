"""Takedowns and what proves them; then flow verify, on the project that came of it and on one that was damaged."""

import gzip
import json
import shutil
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
from tests.flows.two_snapshots import (
    ELSEWHERE,
    MORE,
    OTHER_HOST,
    STAYS,
    WEB,
    check_counts,
    check_set,
    drawn,
    live,
    manifest,
    named,
    recorded,
    runs,
    set_parts,
    told_of,
    tombstones,
    write_in_set,
)
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


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
    pictures.write(site.folder, MORE)
    write_in_set(made.folder / "data/sets/emoji", site.folder)
    made.run("python", "-m", "dvc", "add", "--quiet", "data/sets/emoji")
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
    urls = drawn(project, site)
    letter, hosts = (project.folder.parent / name for name in ("letter.txt", "hosts.parquet"))
    letter.write_text("\n".join(urls) + "\n")
    row = {"kind": "host_sha256", "value": digests.sha256_bytes(OTHER_HOST.encode())}
    records.write_table(records.rows_table([row], records.OPTOUTS), hosts)
    gone, numbers = named(project, urls), [int(Path(url).stem) for url in urls if "missing" not in url]
    assert min(map(len, gone.values())) > len(ELSEWHERE), "of both snapshots"
    wanted = {f"url {url}": url.encode() for url in urls} | {"host": OTHER_HOST.encode()}
    for number in (*numbers, *ELSEWHERE):
        wanted |= told_of(number, elsewhere.folder if number in ELSEWHERE else site.folder)
    assert set(holding(project.folder, wanted)) == set(wanted)
    head, before = project.run("git", "rev-parse", "HEAD").stdout.strip(), manifest(project)
    counts = {stage: runs(project, stage).count("s1") for stage in ("source", "download")}
    evaluated, metrics = len(runs(project, "evaluate")), (project.folder / "results/clip-0/metrics.json").read_bytes()
    taken_before, parts = tombstones(project), set_parts(project, "data/sets/emoji")
    shutil.copytree(project.folder / "store", project.folder.parent / "store before")

    done = project.run("python", "-m", "flows", "takedown", str(letter), str(hosts))
    assert f"TakenDown: {sum(map(len, gone.values()))} pairs and 5 rows of evaluation sets" in done.stdout
    assert "dvc gc --workspace" in done.stdout + done.stderr
    assert "0 URLs asked of the web" in done.stdout + done.stderr
    assert holding(project.folder, wanted) == {}
    assert all(runs(project, stage).count("s1") == number + 1 for stage, number in counts.items())
    assert len(runs(project, "evaluate")) == evaluated + 1, "metrics are of the new models"
    assert (project.folder / "results/clip-0/metrics.json").read_bytes() != metrics
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.repro() == []
    check_counts(project, {name: uids | taken_before[name] for name, uids in gone.items()})
    check_set(project, site, parts)

    lock = yaml.safe_load(project.run("git", "show", f"{head}:dvc.lock").stdout)
    (out,) = [out for out in lock["stages"]["pack@s1"]["outs"] if out["path"] == "data/shards/s1"]
    cache = project.folder / ".dvc/cache/files/md5"
    listed = json.loads((cache / out["md5"][:2] / out["md5"][2:]).read_text())
    (md5,) = [entry["md5"] for entry in listed if entry["relpath"] == "manifest.parquet"]
    old = pq.read_table(cache / md5[:2] / md5[2:], partitioning=None)
    assert set(old["uid"].to_pylist()) == set(before), "the old revision tells its own story"


def test_sets_that_are_to_stay_do_and_it_is_told(project: Project, site: Site) -> None:
    copied, url = checkouts.copy(project, project.folder.parent / "kept"), f"{site.base}/{pictures.file_name(STAYS)}"
    before = set_parts(copied, "data/sets/emoji")
    done = copied.run("python", "-m", "flows", "takedown", url, "--evaluation-sets", "keep")
    assert "TakenDown: 1 pairs, " in done.stdout
    assert "an evaluation set's, too: what is in data/sets/emoji stays as it is" in done.stdout + done.stderr
    assert set_parts(copied, "data/sets/emoji") == before
    assert holding(copied.folder, {"url": url.encode()}) == {}


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
