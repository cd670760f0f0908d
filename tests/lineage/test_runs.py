"""Run records form one hash chain per stage instance: what was changed or taken away is found."""

import json
import multiprocessing
from pathlib import Path

import pytest

from lineage import runs
from tests.lineage.conftest import call


def test_records_come_back_in_order_chained_per_instance(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    for number, instance in enumerate(["s1", "s2", "s1", "s1"]):
        runs.append("pack", {"instance": instance, "number": number}, folder)
    found = list(runs.read("pack", folder))
    assert [record["number"] for record in found] == [0, 1, 2, 3]
    assert [record["previous"] is None for record in found] == [True, True, False, False]
    assert list(runs.read("train", folder)) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: [lines[0].replace('"number": 0', '"number": 9'), *lines[1:]], 2),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], lines[2], lines[1]], 2),
    ],
)
def test_a_changed_removed_or_moved_record_is_found(tmp_path: Path, change: object, line: int) -> None:
    for number in range(3):
        runs.append("pack", {"instance": "s1", "number": number}, tmp_path)
    file = tmp_path / "pack.jsonl"
    assert callable(change)
    file.write_text("".join(f"{text}\n" for text in change(file.read_text().splitlines())))
    with pytest.raises(ValueError, match=rf"pack\.jsonl:{line}: the chain of pack@s1 is broken here"):
        list(runs.read("pack", tmp_path))


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    runs.append("pack", {"instance": "s1"}, tmp_path)
    with (tmp_path / "pack.jsonl").open("a") as file:
        file.write("{half\n")
    with pytest.raises(ValueError, match=r"pack\.jsonl:2: not a run record"):
        list(runs.read("pack", tmp_path))


def _append_many(folder: Path, instance: str) -> None:
    for number in range(20):
        runs.append("train", {"instance": instance, "number": number}, folder)


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(tmp_path, f"m{number % 2}")) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(list(runs.read("train", tmp_path))) == 60


def test_the_environment_tells_commit_and_dirt_but_not_of_its_own_records(project: Path) -> None:
    clean = runs.environment()
    assert clean["commit"] == call(project, "git", "rev-parse", "HEAD")
    assert clean["dirty"] is False
    runs.append("pack", {"instance": "s1"})
    with (project / "dvc.lock").open("a") as file:
        file.write("# noise\n")
    assert runs.environment()["dirty"] is False
    (project / "params.yaml").write_text("seed: 1\n")
    assert runs.environment()["dirty"] is True
    assert "hostname" not in json.dumps(clean).lower()


def test_outside_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert runs.environment()["commit"] is None


def test_use_of_the_machine_is_positive() -> None:
    assert runs.peak_memory_bytes() > 1 << 20
    assert runs.cpu_seconds() > 0
