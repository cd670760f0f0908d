"""The whole DAG on a small project: 40 pictures from an own server, three snapshots, real DVC."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.cyclip_model.small_set import write_set
from tests.project import Project, make_project, served, write_list, write_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FIRST, SECOND = "s1", "s2"


def set_rule(content: dict[str, Any], name: str, **keys: Any) -> None:
    """Changes a rule of the recipe."""
    next(rule for rule in content["select"]["rules"] if rule["rule"] == name).update(keys)


@pytest.fixture(scope="module")
def project(module_folder: Path) -> Iterator[Project]:
    """A project with two snapshots, reproduced and committed; the tests below go on from each other."""
    folder = module_folder
    write_pictures(folder / "site", range(40))
    with served(folder / "site") as base:
        made = make_project(folder / "checkout")
        write_set(made.folder / "data/sets/emoji")
        for name, numbers in ((FIRST, range(30)), (SECOND, range(25, 40))):
            write_list(folder / f"{name}.csv", base, numbers)
            made.run("python", "-m", "pipelines.snapshot", "add", str(folder / f"{name}.csv"), "--name", name)
        # after the first snapshot: without one DVC cannot read dvc.yaml, which names it
        made.run("python", "-m", "dvc", "add", "--quiet", "data/sets/emoji")
        made.commit("two snapshots")
        made.repro()
        made.commit("reproduced")
        yield made


def rows(project: Project, path: str) -> int:
    return int(pq.read_table(project.folder / path, partitioning=None).num_rows)


def test_every_stage_ran_and_the_rows_add_up(project: Project) -> None:
    for name, listed in ((FIRST, 33), (SECOND, 18)):
        source = f"data/source/{name}"
        repeats = pq.read_table(project.folder / f"{source}/repeats.parquet")["repeats"].to_pylist()
        assert rows(project, f"{source}/source.parquet") + rows(project, f"{source}/rejects.parquet") + sum(
            repeats
        ) == int(listed)
        pairs = rows(project, f"{source}/source.parquet")
        assert rows(project, f"data/raw/{name}/ledger.parquet") == pairs
        assert rows(project, f"data/selection/{name}/verdicts.parquet") == pairs
        signals = (project.folder / f"data/signals/{name}").glob("*.parquet")
        assert sum(pq.read_metadata(path).num_rows for path in signals) == pairs
        kept = rows(project, f"data/selection/{name}/kept.parquet")
        assert rows(project, f"data/shards/{name}/manifest.parquet") == kept > 0
    assert (project.folder / "report/index.html").is_file()


def test_a_second_repro_does_nothing(project: Project) -> None:
    assert project.repro() == []


FETCHING = ("--single-item", f"download@{FIRST}", f"download@{SECOND}")
"""That the other stages make the same bytes again is seen where all of them are killed, below."""


@pytest.mark.parametrize(
    "what", [pytest.param(FETCHING, id="download"), pytest.param((), marks=pytest.mark.soak, id="all")]
)
def test_force_changes_no_byte_and_fetches_nothing(project: Project, what: tuple[str, ...]) -> None:
    before = project.lock()
    done = project.run("python", "-m", "dvc", "repro", "--force", *what)
    assert project.lock() == before
    assert done.stderr.count("0 URLs asked of the web") == 2


def test_a_comment_in_pack_reruns_pack_alone(project: Project) -> None:
    path = project.folder / "pipelines/pack.py"
    path.write_text(path.read_text() + "\n# a comment\n")
    assert project.repro() == [f"pack@{FIRST}", f"pack@{SECOND}"]
    project.run("git", "checkout", "--quiet", "pipelines/pack.py", "dvc.lock")
    project.repro()


def test_a_threshold_that_keeps_the_same_rows_reruns_no_pack_and_no_train(project: Project) -> None:
    project.params(lambda content: set_rule(content, "side", min_px=31))
    assert set(project.repro()) <= {"select", "dataset", "index", "audit"}


def test_a_threshold_that_drops_rows_reruns_none_of_download_and_measure(project: Project) -> None:
    def drop_short_captions(content: dict[str, Any]) -> None:
        set_rule(content, "caption_length", min_chars=len("picture number 1 with a red square") + 1)

    project.params(drop_short_captions)
    ran = project.repro("evaluate")
    assert {name.split("@")[0] for name in ran} >= {"select", "pack", "dataset", "train", "evaluate"}
    before = {"source", "download", "measure", "screen", "scorer", "embed", "embed_tests"}
    assert not before & {name.split("@")[0] for name in ran}
    project.run("git", "checkout", "--quiet", "params.yaml", "dvc.lock")
    assert project.repro() == []


def test_a_snapshot_goes_and_comes_back(project: Project) -> None:
    before = project.lock()
    listed = project.folder.parent / f"{SECOND}.csv"
    project.run("python", "-m", "pipelines.snapshot", "remove", SECOND)
    ran = project.repro("dataset", "trail")
    assert "dataset" in ran
    assert not [name for name in ran if name.endswith((FIRST, SECOND))]
    root = json.loads((project.folder / "data/dataset/root.json").read_text())
    assert root["snapshots"] == [FIRST]
    for path in (project.folder / "data/dataset").iterdir():
        assert SECOND.encode() not in path.read_bytes(), path
    project.run("python", "-m", "pipelines.snapshot", "add", str(listed), "--name", SECOND)
    assert project.repro() == []
    assert project.lock() == before


def test_lineage_ends_at_the_url_lists_now_and_at_an_older_commit(project: Project) -> None:
    project.params(lambda content: content["train"].update(epochs=1))
    project.repro()
    project.commit("fewer epochs")
    for rev in ("HEAD", "HEAD~1"):
        done = project.run("python", "-m", "lineage", "trace", "models/clip-0", "--rev", rev)
        assert f"data/lists/{FIRST}" in done.stdout
        assert f"data/lists/{SECOND}" in done.stdout
        assert " 0 broken" in done.stdout


def test_kill_minus_nine_loses_nothing(project: Project) -> None:
    before = project.lock()
    for folder in ("data/raw", "data/shards", "models", "provenance"):
        shutil.rmtree(project.folder / folder)
    shutil.rmtree(project.folder / ".dvc/cache/runs")
    # without lock and run cache no stage is restored: every one has to run, as on the first day
    (project.folder / "dvc.lock").unlink()
    for stage in ("download", "pack", "train"):
        project.kill_during(stage, after_s=0.3)
        assert project.orphans() == []
    assert {name.split("@")[0] for name in project.repro()} >= {"train", "audit"}
    assert project.lock() == before, "whatever ran, once more or for the rest, made the same bytes"


def test_dvc_checkout_leaves_the_lists(project: Project) -> None:
    project.run("python", "-m", "dvc", "checkout", "--quiet")
    assert project.run("python", "-m", "dvc", "data", "status").stdout.count("deleted") == 0
    assert (project.folder / f"data/lists/{FIRST}/list.json").is_file()
    assert (project.folder / "data/sets/emoji/set.json").is_file()


def test_a_wrong_digest_is_told(project: Project) -> None:
    lock = project.folder / "dvc.lock"
    good = lock.read_text()
    digest = next(line for line in good.splitlines() if "path: data/dataset/root.json" in line)
    assert digest
    before, _, after = good.partition("path: data/dataset/root.json\n      hash: md5\n      md5: ")
    lock.write_text(f"{before}path: data/dataset/root.json\n      hash: md5\n      md5: {'0' * 32}{after[32:]}")
    done = project.run("python", "-m", "lineage", "trace", "models/clip-0", check=False)
    lock.write_text(good)
    assert done.returncode == 1
    assert "broken edge" in done.stderr


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda content: content["pack"].update(colour=1), "pack.colour"),
        (lambda content: content["pack"].pop("rows_per_shard"), "pack.rows_per_shard"),
        (lambda content: content["pack"].update(rows_per_shard="many"), "pack.rows_per_shard"),
        (lambda content: content.update(packing={}), "packing"),
    ],
)
def test_a_mistake_in_params_is_one_clear_error(project: Project, change: Any, named: str) -> None:
    project.params(change)
    # forced, because a section no stage reads makes nothing stale
    done = project.run("python", "-m", "dvc", "repro", "--force", "--single-item", f"pack@{FIRST}", check=False)
    project.run("git", "checkout", "--quiet", "params.yaml")
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert named in errors[0]
    project.repro()


def test_too_few_rows_for_a_batch_names_both(project: Project) -> None:
    project.params(lambda content: content["train"].update(batch_size=4096))
    done = project.run("python", "-m", "dvc", "repro", "train@clip-0", check=False)
    project.run("git", "checkout", "--quiet", "params.yaml")
    assert done.returncode != 0
    assert "train.batch_size" in done.stderr
    assert "4096" in done.stderr


def test_no_scratch_is_left(project: Project) -> None:
    project.repro()
    left = {path.name for path in Path(project.folder / ".work").iterdir() if path.is_dir()}
    assert left == {"features", "timings"}, "what the towers made of a set is kept"


def add_own_list(project: Project, base: str) -> None:
    """Adds a user's csv of 20 rows: 19 pictures and one that is gone."""
    listed = project.folder.parent / "own.csv"
    rows = [f"{base}/{number}.{('png', 'jpeg')[number % 2]};my picture {number}" for number in range(40, 59)]
    listed.write_text("link,words\n" + "\n".join(row.replace(";", ",") for row in [*rows, f"{base}/gone.png;gone"]))
    mapping = ("--map", "url=link", "--map", "caption=words")
    project.run("python", "-m", "pipelines.snapshot", "add", str(listed), "--name", "own", *mapping)


def test_a_users_own_list_as_third_snapshot_and_as_the_only_one(project: Project) -> None:
    write_pictures(project.folder.parent / "own", range(40, 59))
    with served(project.folder.parent / "own") as base:
        add_own_list(project, base)
        ran = project.repro("dataset")
        assert {"pack@own", "dataset"} <= set(ran)
        assert not [name for name in ran if name.endswith((FIRST, SECOND))]
        root = json.loads((project.folder / "data/dataset/root.json").read_text())
        assert root["snapshots"] == [FIRST, SECOND, "own"]
        for name in (FIRST, SECOND):
            project.run("python", "-m", "pipelines.snapshot", "remove", name)
        # no row to hold out: which ones would be depends on the server's port
        project.params(lambda content: content["train"].update(batch_size=64) or content["select"].update(val_frac=0.0))
        done = project.run("python", "-m", "dvc", "repro", check=False)
    assert (project.folder / "data/dataset/root.json").is_file(), "the data stages end well"
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "19 training rows" in errors[0]
    assert "train.batch_size = 64" in errors[0]
    project.params(lambda content: content["train"].update(batch_size=8))
    done = project.run("python", "-m", "dvc", "repro")
    assert "the val split is empty" in done.stderr
    assert (project.folder / "report/index.html").is_file()
