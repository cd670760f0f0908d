"""Files of a revision are found by digest; what is not here is said; what was read once is remembered rightly."""

import shutil
from pathlib import Path

import pytest

from lineage import digests
from lineage.questions import holdings
from lineage.questions.holdings import NotHereError
from tests.lineage.conftest import call

TRAIL = "data/trail/s1/pairs.parquet"


@pytest.fixture
def copied(laid_down: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    shutil.copytree(laid_down, folder)
    return folder


def test_each_revision_has_its_own_bytes(laid_down: Path) -> None:
    first, second = holdings.at(laid_down, "HEAD~1"), holdings.at(laid_down, "HEAD")
    for held in (first, second):
        assert digests.md5_file(held.path(TRAIL)) == held.digest(TRAIL)
    assert first.digest(TRAIL) != second.digest(TRAIL)
    assert holdings.at(laid_down).path(TRAIL) == laid_down / TRAIL


def test_without_a_cache_an_unchanged_workspace_serves_its_own_revision(copied: Path) -> None:
    shutil.rmtree(copied / ".dvc/cache")
    assert holdings.at(copied, "HEAD").path(TRAIL) == copied / TRAIL
    with pytest.raises(NotHereError, match="dvc pull"):
        holdings.at(copied, "HEAD~1").path(TRAIL)
    (copied / TRAIL).write_bytes(b"changed")
    with pytest.raises(NotHereError, match="dvc pull"):
        holdings.at(copied, "HEAD").path(TRAIL)


def test_a_workspace_without_data_is_served_from_the_cache(copied: Path) -> None:
    shutil.rmtree(copied / "data/trail")
    held = holdings.at(copied)
    assert digests.md5_file(held.path(TRAIL)) == held.digest(TRAIL)
    assert held.names("data/signals/s1") == ["data/signals/s1/00000.parquet", "data/signals/s1/00001.parquet"]
    assert "data/trail/s1/url.keys.npy" in held.names("data/trail/s1")


def test_what_is_remembered_of_a_commit_is_what_it_says(copied: Path) -> None:
    before = holdings.at(copied, "HEAD")
    assert holdings.at(copied, "HEAD").outs == before.outs
    assert list((copied / ".git/clipline-lineage").iterdir())
    (copied / "params.yaml").write_text((copied / "params.yaml").read_text().replace("[s1, s2]", "[s1]"))
    call(copied, "git", "commit", "-q", "-a", "-m", "third")
    assert holdings.at(copied, "HEAD").snapshots == ("s1",)
    assert holdings.at(copied, "HEAD~1").outs == before.outs


def test_history_is_newest_first_and_skips_what_is_no_project(copied: Path) -> None:
    assert [held.digest(TRAIL) for held in holdings.history(copied)] == [
        holdings.at(copied, rev).digest(TRAIL) for rev in ("HEAD", "HEAD~1")
    ]


@pytest.mark.parametrize("content", ["", "stages: 3", "a: [", "stages: {select: {outs: [{path: 1}]}}"])
def test_a_lock_that_cannot_be_read_is_named(copied: Path, content: str) -> None:
    (copied / "dvc.lock").write_text(content)
    with pytest.raises(ValueError, match=r"dvc\.lock in the working tree: cannot be read"):
        holdings.at(copied)


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml"])
@pytest.mark.parametrize(("content", "told"), [("a: [", "not valid YAML"), ("3", "expected a mapping")])
def test_a_file_that_is_no_yaml_is_named_in_one_line(copied: Path, name: str, content: str, told: str) -> None:
    (copied / name).write_text(content)
    with pytest.raises(ValueError, match=f"{name} in the working tree: {told}") as caught:
        holdings.at(copied)
    assert "\n" not in str(caught.value)


def test_a_digest_of_digits_alone_stays_text(copied: Path) -> None:
    lock = (copied / "dvc.lock").read_text()
    digest = holdings.at(copied).outs["data/audit"]
    (copied / "dvc.lock").write_text(lock.replace(digest, "0" + "1" * 31))
    assert holdings.at(copied).outs["data/audit"] == "0" + "1" * 31
    assert holdings.project(copied / "data") == copied


def test_rows_are_read_by_number_and_by_uid(laid_down: Path) -> None:
    from lineage.questions import rows

    path = laid_down / TRAIL
    every = rows.by_numbers(path, [3, 0, 1, 2], ["uid"])
    assert [row["uid"] for row in every[1:]] == sorted(row["uid"] for row in every)[:3]
    assert rows.by_number(path, 2, ["uid"]) == every[3]
    for row in every:
        assert rows.by_uid([path], row["uid"], ["uid", "kept"])["uid"] == row["uid"]  # type: ignore[index]
    assert rows.by_uid([path], "0", ["kept"]) is rows.by_uid([path], "z", ["kept"]) is None
    with pytest.raises(ValueError, match="row 4 is not there"):
        rows.by_number(path, 4, ["uid"])
