"""trace walks real DVC projects down to the URL lists and never calls good what it could not check."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lineage import dag
from lineage.trace import Edge, Trace, trace
from tests.lineage.conftest import ENV, call, commit, dvc

OLD = "HEAD~1"


def broken(found: Trace) -> list[Edge]:
    return [edge for edge in found.edges() if edge.state == "broken"]


def cli(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**ENV, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-m", "lineage", "trace", *args],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def drop_listing(folder: Path, digest: str) -> None:
    (folder / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]).unlink()


def set_lock(folder: Path, pattern: str, replacement: str) -> None:
    text = (folder / "dvc.lock").read_text()
    changed, number = re.subn(pattern, replacement, text, count=1)
    assert number == 1
    (folder / "dvc.lock").write_text(changed)


@pytest.mark.usefixtures("pristine")
def test_every_edge_of_a_model_is_good_down_to_the_lists() -> None:
    found = trace("models/clip-0")
    assert found.count("unchecked", "broken") == 0
    assert [root.path for root in found.url_lists()] == ["data/lists/s1", "data/lists/s2"]
    assert list(found.stages) == ["train@clip-0", "select", "pack@s1", "pack@s2", "source@s1", "source@s2"]
    kinds = [edge.kind for edge in found.stages["train@clip-0"]]
    assert kinds == ["recipe", "params", "data", "data", "data"]
    assert found.start.kind == "file"


@pytest.mark.usefixtures("pristine")
def test_an_older_revision_has_its_own_dag() -> None:
    found = trace("models/cyclip-0", OLD)
    assert found.count("unchecked", "broken") == 0
    assert [root.path for root in found.url_lists()] == ["data/lists/s1"]
    assert "pack@s2" not in found.stages
    assert trace("models/cyclip-0", "HEAD").start.digest != found.start.digest


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ("data/selection/s1/tïef/nésted/rest.txt", ["select"]),
        ("data/selection/s1/tïef", ["select"]),
        ("./data/source/s2/", ["source@s2"]),
        ("data/shards/../shards/s1/kept.txt", ["pack@s1"]),
        ("provenance/pack", ["pack@s1", "pack@s2"]),
        ("data/lists/s1", ["data/lists/s1.dvc"]),
        ("data/lists/s1/lïst.csv", ["data/lists/s1.dvc"]),
    ],
)
@pytest.mark.parametrize("rev", [None, "HEAD"])
@pytest.mark.usefixtures("pristine")
def test_any_output_path_can_be_asked_for(path: str, first: list[str], rev: str | None) -> None:
    found = trace(path, rev)
    assert list(found.start.makers) == first
    assert found.count("unchecked", "broken") == 0
    assert found.url_lists()


def test_the_digest_of_a_list_is_that_of_its_dvc_file(pristine: Path) -> None:
    root = trace("data/lists/s2").roots["data/lists/s2"]
    assert f"md5: {root.digest}\n" in (pristine / "data/lists/s2.dvc").read_text()


@pytest.mark.parametrize(
    ("stage", "dep"),
    [("source@s1", "data/lists/s1"), ("pack@s1", "data/selection/s1/kept.txt"), ("train@clip-0", "data/shards")],
)
def test_a_flipped_digest_is_a_broken_edge(project: Path, stage: str, dep: str) -> None:
    set_lock(project, rf"(  {stage}:(?:.*\n)+?    - path: {dep}\n      hash: md5\n      md5: )..", r"\g<1>zz")
    (edge,) = broken(trace("models/clip-0"))
    assert (edge.stage, edge.path, edge.kind) == (stage, dep, "data")
    assert "recorded zz" in edge.note
    done = cli(project, "models/clip-0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: broken edge: {stage}: data {dep}: recorded zz")
    assert "1 broken" in done.stdout
    assert "✗" in done.stdout


def test_a_flipped_out_breaks_every_edge_that_reads_it(project: Path) -> None:
    set_lock(
        project,
        r"(  source@s1:(?:.*\n)+?    outs:\n    - path: data/source/s1\n      hash: md5\n      md5: )..",
        r"\g<1>zz",
    )
    assert [edge.stage for edge in broken(trace("data/shards/s1"))] == ["pack@s1", "select"]
    shutil.rmtree(project / "data/source/s1")
    found = trace("data/shards/s1")
    assert [edge.stage for edge in broken(found)] == ["pack@s1"]
    unchecked = [(edge.stage, edge.path) for edge in found.edges() if edge.state == "unchecked"]
    assert unchecked == [("select", "data/source")]


def test_a_missing_listing_is_not_checkable_and_never_good(project: Path) -> None:
    digest = dag.load(dag.revision(project, "HEAD")).outs()["data/selection"]
    drop_listing(project, digest)
    assert trace("data/shards/s1", "HEAD").count("unchecked") == 0  # the workspace still has the same folder
    (project / "data/selection/s1/kept.txt").write_text("another")
    found = trace("data/shards/s1", "HEAD")
    (edge,) = [edge for edge in found.edges() if edge.state == "unchecked"]
    assert (edge.stage, edge.path) == ("pack@s1", "data/selection/s1/kept.txt")
    assert "not checkable here" in edge.note
    done = cli(project, "data/shards/s1", "--rev", "HEAD")
    assert done.returncode == 0
    assert "1 not checkable here, 0 broken; ends at URL lists: data/lists/s1" in done.stdout
    assert trace("data/selection/s1/kept.txt", "HEAD").start.state == "unchecked"


def test_a_parent_folder_needs_every_listing(project: Path) -> None:
    for path in ("data/shards/s1", "data/shards/s2"):
        drop_listing(project, dag.load(dag.revision(project, None)).outs()[path])
    shutil.rmtree(project / "data" / "shards" / "s2")
    found = trace("models/clip-0")
    assert [edge.path for edge in found.edges() if edge.state == "unchecked"] == ["data/shards"]
    assert not broken(found)


def test_a_damaged_cached_listing_is_not_believed(project: Path) -> None:
    digest = dag.load(dag.revision(project, None)).outs()["data/selection"]
    cached = project / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
    cached.chmod(0o644)
    cached.write_text("[]")
    shutil.rmtree(project / "data" / "selection")
    assert trace("data/shards/s1").count("unchecked") == 1


def test_the_cache_may_be_elsewhere(project: Path) -> None:
    shutil.move(project / ".dvc" / "cache", project.parent / "shared")
    shutil.rmtree(project / "data")
    call(project, "git", "checkout", "--", "data")
    assert trace("models/clip-0").count("unchecked") > 0
    dvc(project, "cache", "dir", "--local", str(project.parent / "shared"))
    assert trace("models/clip-0").count("unchecked", "broken") == 0


def test_a_changed_file_on_disk_is_told_from_what_ran(project: Path) -> None:
    (project / "models/clip-0/kept.txt").write_text("overwritten")
    (edge,) = broken(trace("models/clip-0"))
    assert edge.kind == "file"
    assert "what is on disk is not what ran" in edge.note
    assert not broken(trace("models/clip-0", "HEAD"))


def test_changed_code_is_named(project: Path) -> None:
    with (project / "code/join.py").open("a") as file:
        file.write("# a comment\n")
    notes = {edge.stage: edge.note for edge in broken(trace("data/selection"))}
    assert notes["select"] == "code at this revision differs from what ran: code"
    assert notes["source@s1"] == "code at this revision differs from what ran: code/join.py"
    commit(project, "change code, run nothing")
    assert len(broken(trace("data/selection", "HEAD"))) == 3


def test_changed_params_are_named(project: Path) -> None:
    text = (project / "params.yaml").read_text().replace("weight: 1.0", "weight: 2.0")
    (project / "params.yaml").write_text(text)
    (edge,) = broken(trace("models/clip-0"))
    assert edge.note == "params at this revision differ from what ran: losses.clip"
    assert not broken(trace("models/cyclip-0"))


def test_a_recipe_changed_since_the_run_is_named(project: Path) -> None:
    text = (project / "dvc.yaml").read_text(encoding="utf-8")
    (project / "dvc.yaml").write_text(text.replace("[data/source, code]", "[code]"), encoding="utf-8")
    (edge,) = broken(trace("data/selection"))
    assert (edge.kind, edge.note) == ("recipe", "dep data/source is gone from dvc.yaml")


def test_lock_entries_that_are_not_listed_are_ignored(project: Path) -> None:
    (project / "params.yaml").write_text((project / "params.yaml").read_text().replace("[clip, cyclip]", "[clip]"))
    assert "train@cyclip-0" in (project / "dvc.lock").read_text()
    with pytest.raises(ValueError, match=r"models/cyclip-0: no stage makes it .* outputs there: models/clip-0"):
        trace("models/cyclip-0")


def test_a_listed_stage_that_never_ran_breaks_the_chain(project: Path) -> None:
    text = (project / "dvc.lock").read_text()
    (project / "dvc.lock").write_text(re.sub(r"  pack@s2:\n(?:    .*\n)+", "", text))
    edges = broken(trace("models/clip-0"))
    assert {edge.path for edge in edges} == {"data/shards", "provenance/pack"}
    assert edges[0].note == "pack@s2 has no entry in dvc.lock: it has not run"
    with pytest.raises(ValueError, match=r"data/shards/s2: pack@s2 has no entry in dvc.lock"):
        trace("data/shards/s2")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("models/none",), "error: models/none: no stage makes it"),
        (("models/clip-0", "--rev", "nowhere"), "error: nowhere: unknown revision"),
        (("models/clip-0", "--rev=--all"), "error: --all: unknown revision"),
        (("/etc/passwd",), "error: /etc/passwd: not a path inside the project"),
        (("../x",), "error: ../x: not a path inside the project"),
        (("data/selection/s1/none.txt",), "error: data/selection/s1/none.txt: select made no such file"),
        (("code/join.py",), "error: code/join.py: no stage makes it"),
    ],
)
def test_a_mistake_is_one_clear_line(pristine: Path, args: tuple[str, ...], message: str) -> None:
    done = cli(pristine, *args)
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_outside_a_project_is_one_clear_line(tmp_path: Path) -> None:
    assert "not in a git repository" in cli(tmp_path, "models/clip-0").stderr
    call(tmp_path, "git", "init", "-q")
    assert "dvc.yaml: no such file" in cli(tmp_path, "models/clip-0").stderr


def test_the_tree_names_a_stage_once_and_ends_with_the_count(pristine: Path) -> None:
    done = cli(pristine, "models/clip-0", "--rev", "HEAD")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("✓ models/clip-0 ")
    assert sum(line.endswith("source@s1") for line in lines) == 1
    assert any(line.endswith("source@s1 (shown above)") for line in lines)
    assert re.fullmatch(
        r"\d+ edges checked, 0 not checkable here, 0 broken; "
        r"ends at URL lists: data/lists/s1 [0-9a-f]{12}, data/lists/s2 [0-9a-f]{12}",
        lines[-1],
    )


def test_json_tells_the_same(pristine: Path) -> None:
    done = cli(pristine, "models/clip-0", "--json")
    told = json.loads(done.stdout)
    assert told == json.loads(json.dumps(trace("models/clip-0").as_json()))
    assert told["checked"] == len(told["edges"])
    assert told["url_lists"] == ["data/lists/s1", "data/lists/s2"]
