"""A shard packed again from raw has the same bytes, in the working tree and at a revision, or it is told."""

from pathlib import Path

import pytest

from lineage import dag, records
from lineage.checks import rebuild
from lineage.checks.tree import Tree
from lineage.verify import verify
from tests.lineage import verify_project as made
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SHARD = "data/shards/s1/train/00001.tar"


def tree(root: Path, rev: str | None = None) -> Tree:
    return Tree(dag.load(dag.revision(root, rev)))


@pytest.mark.parametrize("rev", [None, "HEAD", "HEAD~3"])
def test_the_same_bytes_come_from_raw(real: Path, rev: str | None) -> None:
    before = Project(real).run("git", "status", "--porcelain", "--ignored").stdout
    finding = rebuild.check(tree(real, rev), "s1", "train/00001.tar")
    assert (finding.what, finding.state) == (SHARD, "good")
    assert Project(real).run("git", "status", "--porcelain", "--ignored").stdout == before


def test_a_seed_draws_one_shard_of_all(real: Path) -> None:
    drawn = {rebuild.choose(tree(real), "random", seed) for seed in range(60)}
    listed = {
        (name, shard)
        for name in ("s1", "s2")
        for shard in records.read_table(real / f"data/shards/{name}/manifest.parquet")["shard"].to_pylist()
    }
    assert drawn == listed
    assert rebuild.choose(tree(real), "random", 7) == rebuild.choose(tree(real), "random", 7)
    assert rebuild.choose(tree(real), SHARD, None) == ("s1", "train/00001.tar")


def test_the_report_has_it(real: Path) -> None:
    report = verify(["data/shards/s1"], root=real, shard="random", seed=1)
    assert [finding.state for finding in report.findings if finding.check == "rebuild"] == ["good"]


def test_raw_data_that_are_damaged_are_told(victim: Path) -> None:
    for row in records.read_table(victim / "data/raw/s1/ledger.parquet").to_pylist():
        made.flip(victim / f"data/raw/s1/{row['shard']:05d}.tar", row["offset"] + 100)
    finding = rebuild.check(tree(victim), "s1", "train/00001.tar")
    assert finding.state == "broken"
    assert finding.problem.startswith("cannot be packed from raw: data/raw/s1/0000")
    assert "differ from the ledger's sha256" in finding.problem


def test_without_raw_data_it_cannot_be_told(victim: Path) -> None:
    next(victim.glob("data/raw/s1/*.tar")).unlink()
    assert rebuild.check(tree(victim), "s1", "train/00001.tar").state == "unchecked"


def test_other_code_may_give_other_bytes(victim: Path) -> None:
    code = victim / "pipelines/tar.py"
    made.replace(code, code.read_text().replace("0o644", "0o600"))
    finding = rebuild.check(tree(victim, "HEAD"), "s1", "train/00001.tar")
    assert finding.state == "unchecked"
    assert "the code of pack is another now" in finding.problem
    made.relock(victim)
    assert rebuild.check(tree(victim), "s1", "train/00001.tar").state == "broken"
