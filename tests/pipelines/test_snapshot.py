"""Snapshots come and go as a whole: list, .dvc file and params.yaml, on a real git and DVC repository."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage import params, stage
from pipelines import roots, snapshot
from pipelines.lists import descriptions
from tests.builders import contents

ROOTS = ("data/optouts.parquet", "data/scores.parquet", "data/concepts.txt")
PARAMS = """# every number
seeds: [0]     # of whatever draws

snapshots: []   # oldest first
objectives: [clip,   cyclip]
source: {max_url_chars: 2e3}   # kept as it is
screen: {rules: [{rule: side, min_px: 8}], num_partitions: 1}
select:
  {rules: [], decontaminate_against: [], val_frac: 0, num_partitions: 1, max_drop_frac: 1, on_excess: warn,
   min_group_rows: 1}

"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path(".gitignore").write_text("/data/lists/*\n!/data/lists/*.dvc\n/.work/\n")
    Path("params.yaml").write_text(PARAMS)
    Path("a.csv").write_text("url,caption\nhttp://a/1,a cat\n")
    Path("b.csv").write_text("url,words\nhttp://a/2,a dog\n")
    return tmp_path


@pytest.fixture
def repository(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    subprocess.run(["git", "init", "-q", "."], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    return project


@pytest.fixture
def no_dvc(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Commands DVC would have run: where only params.yaml and the folders matter."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(snapshot, "_dvc", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(roots, "lay", lambda: calls.append(("lay",)))
    return calls


def state() -> dict[str, bytes]:
    return {name: content for name, content in contents(Path()).items() if not name.startswith((".git/", ".dvc/"))}


@pytest.mark.usefixtures("repository")
def test_add_again_remove_and_add() -> None:
    clean = state()
    snapshot.add_list(Path("a.csv"), "s1", {})
    added = state()
    assert added["params.yaml"].decode() == PARAMS.replace("snapshots: []", "snapshots: [s1]")
    of_list = {"data/lists/s1/a.csv", "data/lists/s1/list.json", "data/lists/s1.dvc"}
    assert of_list <= set(added) - set(clean)
    assert {f"{path}{end}" for path in ROOTS for end in ("", ".dvc")} <= set(added) - set(clean) - of_list
    snapshot.add_list(Path("a.csv"), "s1", {})
    assert state() == added
    with pytest.raises(ValueError, match=r"data/lists/s1: snapshot s1 is in params\.yaml with another list; choose"):
        snapshot.add_list(Path("b.csv"), "s1", {"caption": "words"})
    assert state() == added
    snapshot.remove_list("s1")
    assert state() == {name: content for name, content in added.items() if name not in of_list} | {
        "params.yaml": clean["params.yaml"]
    }
    snapshot.add_list(Path("a.csv"), "s1", {})
    assert state() == added
    assert subprocess.run([sys.executable, "-m", "dvc", "status", "-q"], check=False).returncode == 0


@pytest.mark.usefixtures("repository")
def test_a_tracked_list_that_is_not_in_the_workspace_is_not_replaced() -> None:
    snapshot.add_list(Path("a.csv"), "s1", {})
    for path in Path("data/lists/s1").iterdir():
        path.unlink()
    Path("data/lists/s1").rmdir()
    before = state()
    with pytest.raises(ValueError, match=r"s1\.dvc: tracks another list than this"):
        snapshot.add_list(Path("b.csv"), "s1", {"caption": "words"})
    assert state() == before
    snapshot.add_list(Path("a.csv"), "s1", {})
    assert state()["data/lists/s1.dvc"] == before["data/lists/s1.dvc"]


@pytest.mark.usefixtures("repository")
def test_where_dvc_refuses_nothing_stays() -> None:
    before = state()
    Path("dvc.yaml").write_text("stages: {x: {cmd: x, outs: [data/lists/s1]}}\n")  # the out belongs to a stage
    with pytest.raises(ValueError, match=r"dvc add data/lists/s1 failed: .+"):
        snapshot.add_list(Path("a.csv"), "s1", {})
    Path("dvc.yaml").unlink()
    assert state() == before


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", ["a; touch x", "../x", "A", "", "1a", "a-b", "a\n", "a" * 32, "$(x)"])
def test_bad_names_are_refused_with_nothing_written(name: str, no_dvc: list[tuple[str, ...]]) -> None:
    before = state()
    with pytest.raises(ValueError, match=r"snapshot name .* is not allowed"):
        snapshot.add_list(Path("a.csv"), name, {})
    assert (state(), no_dvc) == (before, [])


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("was", "is_now", "told"),
    [
        ("{rule: side, min_px: 8}", "{rule: sid, min_px: 8}", r"screen\.rules\[0\]\.rule: there is no rule 'sid'"),
        ("rules: [],", "rules: [{rule: aspect}],", r"select\.rules\[0\]\.max_ratio is missing"),
    ],
)
def test_a_mistake_in_a_recipe_is_told_before_anything_is_downloaded(
    was: str, is_now: str, told: str, no_dvc: list[tuple[str, ...]]
) -> None:
    Path("params.yaml").write_text(PARAMS.replace(was, is_now))
    before = state()
    with pytest.raises(ValueError, match=told):
        snapshot.add_list(Path("a.csv"), "s1", {})
    assert (state(), no_dvc) == (before, [])


@pytest.mark.usefixtures("project")
def test_bad_lists_are_refused_with_nothing_written(no_dvc: list[tuple[str, ...]]) -> None:
    before = state()
    for path, mapping, words in (
        ("b.csv", {}, "no caption column"),
        ("a.csv", {"caption": "words"}, "no such column"),
        ("a.csv", {"colour": "words"}, "unknown field colour"),
        ("c.csv", {}, "no such file"),
        ("*.txt", {}, "no file matches the pattern"),
        (
            "a.csv",
            {"expected_sha256": "caption"},
            "column caption has no expected_sha256: 'a cat' is not 64 hex digits",
        ),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            snapshot.add_list(Path(path), "s1", mapping)
    with pytest.raises(ValueError, match=r"a\.csv: column caption has no number in the first 1 rows \(score p\)"):
        snapshot.add_list(Path("a.csv"), "s1", {}, scores={"p": "caption"})
    with pytest.raises(ValueError, match="--preset laion: unknown"):
        snapshot.add_list(Path("a.csv"), "s1", {}, preset="laion")
    with pytest.raises(ValueError, match="--map caption: expected NAME=COLUMN, for example caption=TEXT"):
        snapshot.parse_pairs(["caption"], "--map", "caption=TEXT")
    with pytest.raises(ValueError, match=r"'s9' is not in params\.yaml; snapshots: none"):
        snapshot.remove_list("s9")
    assert (state(), no_dvc) == (before, [])
    assert not list(stage.WORK.glob("*")) if stage.WORK.exists() else True


BLOCK = """snapshots:   # oldest first
  - s1  # the first

# what is trained
objectives:
  - clip  # a
screen: {rules: [], num_partitions: 1}
select:
  {rules: [], decontaminate_against: [], val_frac: 0, num_partitions: 1, max_drop_frac: 1, on_excess: warn,
   min_group_rows: 1}
"""


@pytest.mark.usefixtures("project")
def test_params_keep_their_comments_and_order(no_dvc: list[tuple[str, ...]]) -> None:
    Path("params.yaml").write_text(BLOCK)
    snapshot.add_list(Path("a.csv"), "s2", {})
    assert no_dvc == [("add", "data/lists/s2"), ("lay",)]
    assert Path("params.yaml").read_text() == BLOCK.replace("the first\n", "the first\n  - s2\n")
    snapshot.remove_list("s2")
    assert Path("params.yaml").read_text() == BLOCK
    snapshot.remove_list("s1")
    assert Path("params.yaml").read_text() == BLOCK.replace("snapshots:", "snapshots: []").replace(
        "  - s1  # the first\n", ""
    )
    assert params.names("snapshots") == []


@pytest.mark.usefixtures("project", "no_dvc")
def test_a_snapshot_takes_its_outputs_along() -> None:
    snapshot.add_list(Path("a.csv"), "s1", {})
    gone = [f"data/{kind}/s1/x" for kind in ("source", "raw", "signals", "embeddings", "selection", "shards")]
    gone += [f"provenance/{stage}/s1.json" for stage in ("source", "download", "measure", "embed", "pack")]
    kept = ["data/raw/s2/x", "data/embeddings/s2/x", "provenance/embed/s2.json", "data/optouts.parquet"]
    for path in map(Path, [*gone, *kept]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    snapshot.remove_list("s1")
    assert [path for path in gone + kept if Path(path).exists()] == kept


@pytest.mark.usefixtures("project", "no_dvc")
def test_a_folder_of_files(capsys: pytest.CaptureFixture[str]) -> None:
    Path("many").mkdir()
    for name in ("x", "y"):
        Path("many", f"{name}.csv").write_text("1\thttp://a/1\n".replace("\t", ","))
    snapshot.add(Path("many"), name="s1", map=[])
    assert descriptions.load(Path("data/lists/s1")) == descriptions.ListDescription(
        format="csv", files=["x.csv", "y.csv"], columns={"url": "2", "caption": "1"}, header=False
    )
    snapshot.list_()
    assert capsys.readouterr().out == "s1  csv, 2 file(s)\n"


@pytest.mark.usefixtures("project", "no_dvc")
def test_a_preset_with_scores_and_a_pattern() -> None:
    table = {"url": ["http://a/1"], "text": ["x"], "face_bboxes": [[[0.1, 0.1, 0.2, 0.2]]], "nsfw": [0.5]}
    for name in ("x", "y"):
        Path("meta").mkdir(exist_ok=True)
        pq.write_table(pa.table(table), f"meta/{name}.parquet")
    snapshot.add(Path("meta/*.parquet"), name="s1", map=None, score=["unsafe=nsfw"], preset="datacomp")
    assert descriptions.load(Path("data/lists/s1")) == descriptions.ListDescription(
        format="parquet",
        files=["x.parquet", "y.parquet"],
        columns={"url": "url", "caption": "text"},
        scores={"faces": "face_bboxes", "unsafe": "nsfw"},
    )


@pytest.mark.usefixtures("project")
def test_a_mistake_is_one_line_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        snapshot.add(Path("b.csv"), name="s1", map=None)
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "error: b.csv: no caption column; columns: url, words; name one with --map caption=COLUMN\n"
    )
