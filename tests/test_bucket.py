"""URL lists to shards and a trained model by `dvc repro` with its data in a bucket: real DVC, S3 over HTTP."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.buckets import BUCKET, client, objects, served_bucket
from tests.cyclip_model.small_set import write_set
from tests.project import Project, make_project, served, write_list, write_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NAME = "s1"
TARGETS = ("dataset", "train@clip-0")
PREFIX = "team/clipline/"


def prepared(folder: Path, base: str) -> Project:
    """A project with one snapshot and one evaluation set that nothing was made of."""
    made = make_project(folder / "checkout")
    made.params(shrink)
    write_set(made.folder / "data/sets/emoji")
    made.run("python", "-m", "dvc", "add", "--quiet", "data/sets/emoji")
    write_list(folder / f"{NAME}.csv", base, range(30))
    made.run("python", "-m", "pipelines.snapshot", "add", str(folder / f"{NAME}.csv"), "--name", NAME)
    return made


def shrink(content: dict[str, Any]) -> None:
    """Leaves one snapshot and one model of one short training."""
    content["snapshots"] = [NAME]
    content["train"]["epochs"] = 1
    content["objectives"], content["seeds"] = ["clip"], [0]


def into_bucket(project: Project, environment: dict[str, str]) -> None:
    """Makes a clone a bucket deployment, as docs/operations.md says."""
    project.env |= environment
    shutil.copy(project.folder / "deploy/s3/dvc.yaml", project.folder / "dvc.yaml")
    project.params(lambda content: content.update(root=f"s3://{BUCKET}/{PREFIX.rstrip('/')}"))


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    with served_bucket() as environment:
        yield environment


@pytest.fixture(scope="module")
def projects(module_folder: Path, bucket: dict[str, str]) -> Iterator[tuple[Project, Project]]:
    """The same project twice, reproduced on the disk and in a bucket; the tests below go on from each other."""
    folder = module_folder
    write_pictures(folder / "site", range(30))
    with served(folder / "site") as base:
        local, remote = (prepared(folder / name, base) for name in ("local", "remote"))
        into_bucket(remote, bucket)
        with ThreadPoolExecutor(2) as pool:
            ran = list(pool.map(lambda project: project.repro(*TARGETS), (local, remote)))
        assert sorted(ran[0]) == sorted(ran[1]) != []
        yield local, remote


@pytest.fixture
def remote(projects: tuple[Project, Project]) -> Project:
    return projects[1]


def made(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != ".gitignore"]


@pytest.mark.parametrize("name", ["source", "raw", "signals", "benchmarks", "selection", "shards", "dataset"])
def test_the_bucket_holds_the_bytes_of_a_local_run(
    projects: tuple[Project, Project], bucket: dict[str, str], name: str
) -> None:
    assert objects(bucket, f"{PREFIX}data/{name}/") == made(projects[0].folder / "data" / name) != {}


def test_train_read_the_same_pairs_through_the_mirror(
    projects: tuple[Project, Project], bucket: dict[str, str]
) -> None:
    assert objects(bucket, f"{PREFIX}models/clip-0/") == made(projects[0].folder / "models/clip-0") != {}


def test_lists_and_provenance_stay_out_of_the_bucket_and_data_out_of_the_clone(
    remote: Project, bucket: dict[str, str]
) -> None:
    kept = {name.split("/")[0] for name in objects(bucket, PREFIX)}
    assert kept == {"data", "models"}
    assert not objects(bucket, f"{PREFIX}data/lists/")
    pointers = [path for name in ("raw", "shards") for path in _files(remote.folder / "data" / name)]
    assert pointers
    assert max(path.stat().st_size for path in pointers) < 100


def test_a_second_repro_does_nothing(remote: Project) -> None:
    assert remote.repro(*TARGETS) == []
    assert remote.repro(*TARGETS) == []


def test_lineage_is_whole(remote: Project) -> None:
    remote.commit("reproduced")
    done = remote.run("python", "-m", "lineage", "trace", "models/clip-0")
    assert f"data/lists/{NAME}" in done.stdout
    assert " 0 broken" in done.stdout


def test_a_param_changed_and_changed_back_takes_the_objects_along(remote: Project, bucket: dict[str, str]) -> None:
    shutil.rmtree(remote.folder / ".mirror")
    before = objects(bucket, PREFIX)
    remote.params(lambda content: content["dataset"].update(description="Other words."))
    assert remote.repro("dataset") == ["dataset"]
    after = objects(bucket, PREFIX)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {"data/dataset/croissant.json", "data/dataset/datasheet.md"}
    remote.run("git", "checkout", "--quiet", "params.yaml", "dvc.lock")
    assert remote.repro("dataset") == ["dataset"]  # from its run cache DVC would take the pointers alone
    assert objects(bucket, PREFIX) == before
    assert remote.run("git", "status", "--porcelain", "dvc.lock").stdout == ""


def test_a_damaged_object_is_one_line_and_force_mends_it(remote: Project, bucket: dict[str, str]) -> None:
    key = f"{PREFIX}data/raw/{NAME}/00000.tar"
    good = objects(bucket)[key]
    client(bucket).put_object(Bucket=BUCKET, Key=key, Body=bytes([good[0] ^ 1]) + good[1:])
    shutil.rmtree(remote.folder / ".mirror")
    force = ("python", "-m", "dvc", "repro", "--force", "--single-item")
    done = remote.run(*force, f"pack@{NAME}", check=False)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "00000.tar" in line]
    assert line.startswith(f"error: s3://{BUCKET}/{key}: not the bytes that data/raw/{NAME}/00000.tar points to; ")
    assert "Traceback" not in done.stderr
    remote.run(*force, f"download@{NAME}")
    assert objects(bucket)[key] == good
    remote.run(*force, f"pack@{NAME}")
    assert remote.repro(*TARGETS) == []


def test_without_a_root_dvc_says_what_is_missing(remote: Project) -> None:
    remote.params(lambda content: content.pop("root"))
    done = remote.run("python", "-m", "dvc", "repro", check=False)
    assert done.returncode != 0
    assert "Could not find 'root'" in done.stderr
