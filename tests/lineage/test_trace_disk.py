"""trace holds the outs it walks over against the working tree, each on its own, from any folder of the project."""

import shutil
from pathlib import Path

import pytest

from lineage import dag, digests
from lineage.trace import trace
from tests.lineage.conftest import call
from tests.lineage.test_trace import broken, cli, drop_listing, set_lock


@pytest.mark.parametrize(
    ("path", "broken_edge"),
    [
        ("models/clip-0", ("train@clip-0", "data", "data/shards")),
        ("data/shards", ("", "file", "data/shards")),
        ("data/shards/s1", ("", "file", "data/shards/s1")),
        ("data/shards/s1/kept.txt", ("", "file", "data/shards/s1/kept.txt")),
    ],
)
def test_a_recorded_out_that_is_another_on_disk_is_broken(
    project: Path, path: str, broken_edge: tuple[str, str, str]
) -> None:
    entry = r"(  pack@s1:(?:.*\n)+?    - path: data/shards/s1\n      hash: md5\n      md5: )\w{32}"
    set_lock(project, entry, r"\g<1>" + "0" * 32)
    (edge,) = broken(trace(path))
    assert (edge.stage, edge.kind, edge.path) == broken_edge
    assert edge.note.startswith("what is on disk is not what ran: data/shards/s1 is ")
    assert edge.note.endswith(", recorded 000000000000")
    assert cli(project, path).returncode == 1
    assert not broken(trace(path, "HEAD"))
    shutil.rmtree(project / "data/shards/s1")
    assert not broken(trace("models/clip-0"))


def test_a_root_that_is_another_on_disk_is_broken(project: Path) -> None:
    (project / "data/lists/s1/lïst.csv").write_text("another")
    assert [(edge.stage, edge.path) for edge in broken(trace("models/clip-0"))] == [("source@s1", "data/lists/s1")]


@pytest.mark.parametrize("path", ["data/lists", "data", "provenance"])
def test_a_parent_folder_is_held_against_the_disk_out_by_out(project: Path, path: str) -> None:
    (project / path / "notes.txt").write_text("nobody's")
    found = trace(path)
    assert (found.start.kind, found.start.state) == ("file", "good")
    assert found.count("unchecked", "broken") == 0
    shutil.rmtree(project / "data/lists/s2")
    assert found.count("broken") == 0
    (project / "data/lists/s1/lïst.csv").write_text("another")
    (project / "provenance/pack/s1.json").write_text("another")
    assert "/s1" in broken(trace(path))[0].note
    assert "/s2" not in broken(trace(path))[0].note


def test_an_out_is_hashed_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop_listing(project, dag.load(dag.revision(project, None)).outs()["data/shards/s1"])
    hashed: list[Path] = []
    real = digests.md5_file

    def counted(path: Path) -> str:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(digests, "md5_file", counted)
    assert trace("models/clip-0").count("unchecked", "broken") == 0
    assert project / "data/shards/s1/kept.txt" in hashed
    assert len(hashed) == len(set(hashed))


@pytest.mark.parametrize(
    ("below", "path"),
    [("data", "shards/s1"), ("data/shards", "s1"), ("code", "../data/shards/s1"), ("data/shards/s1", ".")],
)
@pytest.mark.parametrize("rev", [(), ("--rev", "HEAD")])
def test_a_path_is_relative_to_the_current_folder(pristine: Path, below: str, path: str, rev: tuple[str, ...]) -> None:
    done = cli(pristine / below, path, *rev)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("✓ data/shards/s1 ")
    mistake = cli(pristine / below, "models/clip-0", *rev)
    assert mistake.stderr.startswith(f"error: {below}/models/clip-0: ")


def test_another_repository_inside_the_project_is_outside(project: Path) -> None:
    call(project / "code", "git", "init", "-q")
    assert "dvc.yaml: no such file" in cli(project / "code", "../models/clip-0").stderr
