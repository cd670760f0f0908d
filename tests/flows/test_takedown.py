"""A takedown and what proves it; then flow verify, on the project that came of it and on one that was damaged."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.flows import checkouts
from tests.flows.server import PrefectServer
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def project(base: Project, server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy; the tests below go on from each other."""
    made = checkouts.copy(base, tmp_path_factory.mktemp("takedown"))
    made.env |= server.env
    return made


def manifest(project: Project) -> dict[str, str]:
    """Returns {uid: sha256 of the picture} of what is packed."""
    table = pq.read_table(project.folder / "data/shards/s1/manifest.parquet", partitioning=None)
    return dict(zip(table["uid"].to_pylist(), table["source_sha256"].to_pylist(), strict=True))


def test_only_the_impact_is_shown_and_nothing_changes(project: Project) -> None:
    head, victim = project.run("git", "rev-parse", "HEAD").stdout, next(iter(manifest(project).values()))
    done = project.run("python", "-m", "flows", "takedown", victim, "--only-impact")
    assert "Impact: 1 new opt-outs name 1 pairs" in done.stdout
    assert project.run("git", "rev-parse", "HEAD").stdout == head
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert list((project.folder / ".worktrees").glob("*")) == []


def test_what_is_taken_down_is_in_no_shard_and_no_model_and_is_recorded(project: Project) -> None:
    before = manifest(project)
    uid, victim = next(iter(before.items()))
    done = project.run("python", "-m", "flows", "takedown", victim, "--reference", "letter 17")
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


def test_what_was_taken_down_before_is_nothing_new(project: Project) -> None:
    victim = json.loads((project.folder / "runs/takedown.jsonl").read_text())["optouts"][0].partition(":")[2]
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
