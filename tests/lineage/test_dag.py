"""The DAG read without DVC is the one DVC itself runs."""

from pathlib import Path
from typing import Any

import pytest

from lineage import dag, digests
from tests.lineage.conftest import call, dvc


def expand(stages: dict[str, Any], params: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(dag.expand(stages, params))


def test_instances_are_those_of_dvc_with_their_outs(pristine: Path) -> None:
    graph = dag.load(dag.revision(pristine, None))
    names = dvc(pristine, "stage", "list", "--name-only").split()
    assert sorted(graph.instances) == sorted(names)
    assert graph.unrun == {}
    assert [instance.changes for instance in graph.instances.values()] == [()] * len(names)


def test_every_recorded_digest_is_that_of_the_workspace(pristine: Path) -> None:
    graph = dag.load(dag.revision(pristine, None))
    deps = {path: md5 for instance in graph.instances.values() for path, md5 in instance.deps.items()}
    recorded = {**deps, **graph.outs()}
    assert {path: digests.dvc_digest(pristine / path) for path in recorded} == recorded
    assert any(path.endswith("tïef") for path in deps)


def test_a_listing_comes_from_the_cache_or_the_workspace(project: Path) -> None:
    graph = dag.load(dag.revision(project, None))
    digest = graph.outs()["data/selection"]
    cached = dag.listing(project, "data/selection", digest)
    assert cached is not None
    assert list(cached) == ["s1/kept.txt", "s1/tïef/nésted/rest.txt"]
    (project / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]).unlink()
    assert dag.listing(project, "data/selection", digest) == cached
    (project / "data/selection/s1/new.txt").touch()
    assert dag.listing(project, "data/selection", digest) is None
    assert dag.listing(project, "data/selection", "0" * 32) is None


def test_roots_are_read_beside_their_dvc_file_at_any_revision(project: Path) -> None:
    (project / "data/lists/fetched.dvc").write_text(
        "deps: [{path: 's3://bucket/list', etag: abc}]\nouts: [{md5: 0123, path: fetched}]\nfrozen: true\nwdir: .\n"
    )
    old = dag.load(dag.revision(project, "HEAD~1")).roots
    assert list(old) == ["data/lists/s1"]
    new = dag.load(dag.revision(project, None)).roots
    assert sorted(new) == ["data/lists/fetched", "data/lists/s1", "data/lists/s2"]
    assert new["data/lists/fetched"].origin == "s3://bucket/list"


def test_a_matrix_is_the_product_of_its_lists_named_in_order() -> None:
    stages = {
        "train": {
            "matrix": {"objective": "${objectives}", "seed": [0, 1]},
            "cmd": "train ${item.objective} ${item.seed} ${key}",
            "outs": [{"models/${item.objective}-${item.seed}": {"cache": True}}],
        }
    }
    found = expand(stages, {"objectives": ["clip", "cyclip"]})
    assert list(found) == ["train@clip-0", "train@clip-1", "train@cyclip-0", "train@cyclip-1"]
    assert found["train@cyclip-1"] == {
        "cmd": "train cyclip 1 cyclip-1",
        "outs": [{"models/cyclip-1": {"cache": True}}],
    }


def test_interpolation_reaches_into_lists_and_mappings() -> None:
    stages = {"screen": {"cmd": "x ${snapshots[0]} ${a.b[1].c} ${flag} \\${HOME}", "deps": ["${snapshots[-1]}"]}}
    found = expand(stages, {"snapshots": ["s1", "s2"], "a": {"b": [0, {"c": 7}]}, "flag": True})
    assert found == {"screen": {"cmd": "x s1 7 true ${HOME}", "deps": ["s2"]}}


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"x": {"cmd": "a ${none.such}"}}, "stage x: none.such has no value in params.yaml"),
        ({"x": {"cmd": "a ${snapshots[9]}"}}, r"stage x: snapshots\[9\] has no value"),
        ({"x": {"foreach": ["a"], "do": {"cmd": "y"}}}, "stages.x.foreach is not understood"),
        ({"x": {"cmd": "a ${snapshots} b"}}, "stands where one word must"),
    ],
)
def test_what_cannot_be_expanded_is_named(stages: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand(stages, {"snapshots": ["s1"]})


@pytest.mark.parametrize("name", ["dvc.yaml", "params.yaml", "dvc.lock"])
def test_a_file_that_is_missing_or_broken_is_named(project: Path, name: str) -> None:
    (project / name).write_text("a: [")
    with pytest.raises(ValueError, match=f"{name} in the working tree: not valid YAML"):
        dag.load(dag.revision(project, None))
    (project / name).write_text("- a")
    with pytest.raises(ValueError, match=f"{name} in the working tree: expected a mapping"):
        dag.load(dag.revision(project, None))
    (project / name).unlink()
    with pytest.raises(ValueError, match=f"{name}: no such file in the working tree"):
        dag.load(dag.revision(project, None))
    assert dag.load(dag.revision(project, "HEAD")).instances


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("null", "expected a mapping, found None"),
        ("[1]", r"expected a mapping, found \[1\]"),
        ("{deps: x}", "deps: expected a list, found 'x'"),
        ("{deps: [5]}", r"deps\[0\]: expected a mapping with a path, found 5"),
        ("{outs: [{md5: a}]}", r"outs\[0\]: expected a mapping with a path, found {'md5': 'a'}"),
        ("{outs: [{path: a}, {path: 3}]}", r"outs\[1\]: expected a mapping with a path, found {'path': 3}"),
        ("{params: [a]}", r"params: expected a mapping of names, found \['a'\]"),
        ("{params: {params.yaml: 5}}", "params: params.yaml: expected a mapping of names, found 5"),
        ("{params: {params.yaml: {5: 5}}}", "params: params.yaml: expected a mapping of names, found {5: 5}"),
    ],
)
def test_a_malformed_lock_entry_is_named(project: Path, entry: str, message: str) -> None:
    (project / "dvc.lock").write_text(f"stages:\n  select: {entry}\n")
    with pytest.raises(ValueError, match=f"^dvc.lock in the working tree: select: {message}"):
        dag.load(dag.revision(project, None))
    (project / "dvc.lock").write_text("stages: 5\n")
    with pytest.raises(
        ValueError, match=r"^dvc\.lock in the working tree: stages: expected a mapping of names, found 5"
    ):
        dag.load(dag.revision(project, None))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- 5", "expected a mapping"),
        ("outs: x", "outs: expected a list, found 'x'"),
        ("outs:\n- 5", r"outs\[0\]: expected a mapping with a path, found 5"),
        ("outs: [{path: 3}]", r"outs\[0\]: expected a mapping with a path, found {'path': 3}"),
        ("deps: [null]", r"deps\[0\]: expected a mapping with a path, found None"),
        ("wdir: 5", "wdir: expected a path, found 5"),
    ],
)
def test_a_malformed_dvc_file_is_named(project: Path, content: str, message: str) -> None:
    (project / "data/lists/s1.dvc").write_text(content)
    with pytest.raises(ValueError, match=rf"^data/lists/s1\.dvc in the working tree: {message}"):
        dag.load(dag.revision(project, None))


def test_an_odd_name_of_a_hash_is_no_traceback(project: Path) -> None:
    (project / "data/lists/s1.dvc").write_text("outs: [{path: s1, hash: [a]}]")
    assert dag.load(dag.revision(project, None)).roots["data/lists/s1"].digest == ""


def test_a_revision_may_be_any_name_of_a_commit(pristine: Path) -> None:
    head = call(pristine, "git", "rev-parse", "HEAD")
    for rev in ("main", "HEAD", head[:8], "main~0"):
        assert dag.revision(pristine, rev).commit == head


def test_a_revision_reads_files_and_no_folders(pristine: Path) -> None:
    for rev in (None, "HEAD"):
        at = dag.revision(pristine, rev)
        assert at.read("code/join.py") == (pristine / "code/join.py").read_bytes()
        assert at.read("code") is None
        assert at.read("none") is None
        assert at.tracked("code") == ["code/join.py"]
