"""Run records are one chain an instance, and git's history of them only ever grows."""

import json
from pathlib import Path

import pytest

from lineage import dag, runs
from lineage.checks import chains
from lineage.checks.findings import Finding
from tests.lineage.conftest import call, commit

PACK = "runs/pack.jsonl"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    call(tmp_path, "git", "init", "-q", "-b", "main")
    for number in range(2):
        add(tmp_path, "s1", number)
        commit(tmp_path, f"run {number}")
    return tmp_path


def add(root: Path, instance: str, number: int, stage: str = "pack") -> None:
    runs.append(stage, {"stage": stage, "instance": instance, "number": number}, root / "runs")


def history(root: Path, rev: str | None = None) -> list[Finding]:
    return chains.history(dag.revision(root, rev))


def problems(root: Path, rev: str | None = None) -> dict[str, str]:
    return {finding.what: finding.problem for finding in history(root, rev) if finding.state == "broken"}


def test_what_only_grew_is_good_and_what_is_not_committed_may_grow_on(repository: Path) -> None:
    add(repository, "s1", 2)
    add(repository, "all", 0, "select")
    found = {finding.what: finding.state for finding in history(repository)}
    assert found == {PACK: "good", "runs/select.jsonl": "good"}


def test_the_records_come_with_the_chain_checked(repository: Path) -> None:
    found, findings = chains.read(dag.revision(repository, "HEAD~1"))
    assert [record["number"] for record in found["pack"]] == [0]
    assert [(finding.what, finding.state) for finding in findings] == [(PACK, "good")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{not json", "line 3 is not a run record of pack"),
        ("[" * 100_000, "line 3 is not a run record of pack"),
        ("[1]", "line 3 is not a run record of pack"),
        ('{"instance": 7, "previous": null}', "line 3 is not a run record of pack"),
        ('{"stage": "train", "instance": "s1", "previous": null}', "line 3 is not a run record of pack"),
        ('{"instance": "s1", "previous": null}', "line 3: the chain of pack@s1 is broken here"),
        ('{"instance": "s9", "previous": "0"}', "line 3: the chain of pack@s9 is broken here"),
    ],
)
def test_what_is_no_link_of_the_chain_is_named_by_its_line(repository: Path, line: str, problem: str) -> None:
    path = repository / PACK
    path.write_text(path.read_text() + line + "\n")
    _, (finding,) = chains.read(dag.revision(repository, None))
    assert (finding.state, finding.problem) == ("broken", problem)


def test_a_torn_last_line_is_told(repository: Path) -> None:
    path = repository / PACK
    path.write_text(path.read_text()[:-1])
    _, (finding,) = chains.read(dag.revision(repository, None))
    assert finding.problem == "ends inside a line"


@pytest.mark.parametrize("later", [0, 1])
def test_a_commit_that_rewrites_is_found_whatever_comes_after(repository: Path, later: int) -> None:
    path = repository / PACK
    path.write_text(path.read_text().replace('"number": 0', '"number": 9'))
    head = commit(repository, "rewritten")
    for number in range(later):
        add(repository, "s1", number)
        commit(repository, "later")
    assert problems(repository) == {PACK: f"commit {head[:12]} changed or removed lines that were committed"}
    assert problems(repository, "HEAD") == problems(repository)
    assert problems(repository, f"HEAD~{1 + later}") == {}


def test_a_rewrite_that_is_taken_back_is_still_found(repository: Path) -> None:
    path = repository / PACK
    before = path.read_text()
    path.write_text("")
    commit(repository, "emptied")
    path.write_text(before)
    commit(repository, "put back")
    assert "changed or removed" in problems(repository)[PACK]


def test_neither_replaced_objects_nor_configuration_hide_a_rewrite(repository: Path) -> None:
    path = repository / PACK
    path.write_text("")
    head = commit(repository, "emptied")
    call(repository, "git", "replace", head, "HEAD~1")
    for key, value in (("log.showRoot", "false"), ("color.ui", "always"), ("log.showSignature", "true")):
        call(repository, "git", "config", key, value)
    assert "changed or removed" in problems(repository)[PACK]


def branch(root: Path, instance: str) -> None:
    call(root, "git", "checkout", "-q", "-b", instance, "main")
    add(root, instance, 0)
    commit(root, f"a run of {instance}")


@pytest.mark.parametrize(("dropped", "is_broken"), [(None, False), ("s2", True), ("s3", True), ("s1", True)])
def test_a_merge_keeps_the_lines_of_both_sides(repository: Path, dropped: str | None, is_broken: bool) -> None:
    branch(repository, "s2")
    branch(repository, "s3")
    sides = [call(repository, "git", "show", f"{name}:{PACK}").splitlines() for name in ("s2", "s3")]
    lines = [*sides[0], sides[1][-1]]
    call(repository, "git", "merge", "-q", "-s", "ours", "--no-commit", "s2")
    kept = [line for line in lines if json.loads(line)["instance"] != dropped]
    (repository / PACK).write_text("\n".join(kept) + "\n")
    commit(repository, "both")
    assert bool(problems(repository)) == is_broken


def test_a_shallow_clone_and_an_empty_repository_have_no_history(repository: Path, tmp_path: Path) -> None:
    clone, empty = tmp_path / "clone", tmp_path / "empty"
    call(repository, "git", "clone", "-q", "--depth", "1", f"file://{repository}", str(clone))
    empty.mkdir()
    call(empty, "git", "init", "-q")
    for root in (clone, empty):
        (finding,) = history(root)
        assert (finding.state, finding.what) == ("unchecked", "runs")


def test_a_partial_clone_that_lacks_old_records_has_no_history(repository: Path, tmp_path: Path) -> None:
    call(repository, "git", "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    call(repository, "git", "clone", "-q", "--filter=blob:none", f"file://{repository}", str(clone))
    call(clone, "git", "remote", "remove", "origin")
    (finding,) = history(clone)
    assert (finding.state, finding.what) == ("unchecked", "runs")


def test_a_project_below_the_root_of_its_repository(tmp_path: Path) -> None:
    call(tmp_path, "git", "init", "-q", "-b", "main")
    root = tmp_path / "below"
    root.mkdir()
    for number in range(2):
        add(root, "s1", number)
        commit(tmp_path, f"run {number}")
    assert [finding.what for finding in history(root)] == [PACK]
    (root / PACK).write_text("")
    assert problems(root) == {PACK: "lines that are committed are changed or removed in the workspace"}
    commit(tmp_path, "emptied")
    assert "changed or removed" in problems(root, "HEAD")[PACK]
