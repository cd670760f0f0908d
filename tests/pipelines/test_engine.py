"""Results do not depend on the order of tasks or on workers; what fails surfaces as itself and is tried again."""

import dataclasses
import os
from pathlib import Path
from typing import Literal

import pytest

from pipelines import engine
from tests.builders import RUNNER, TWO_WORKERS


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    name: str
    number: int
    folder: Path


def square(task: Task) -> engine.Receipt:
    """Notes that it ran, and fails while there is a file that forbids it."""
    with (task.folder / "ran").open("a") as file:
        file.write(f"{task.name} {os.getpid()}\n")
    if (task.folder / f"forbid-{task.name}").exists():
        raise ValueError(f"shard {task.name} is damaged")
    if (task.folder / "crash").exists():
        raise OSError("no space left on device")
    return {"square": task.number**2}


SQUARES = [n * n for n in range(7)]


def make_tasks(folder: Path, number: int = 7) -> list[Task]:
    return [Task(name=f"t{n}", number=n, folder=folder) for n in range(number)]


def ran(folder: Path) -> list[str]:
    path = folder / "ran"
    names = sorted(line.split()[0] for line in path.read_text().splitlines()) if path.exists() else []
    path.unlink(missing_ok=True)
    return names


def run(tasks: list[Task], runner: engine.RunnerConfig = RUNNER) -> list[engine.Receipt]:
    return engine.run_tasks("square", tasks, square, tasks[0].folder / "receipts", runner)


def test_receipts_come_in_order_of_name_and_make_a_rerun_skip(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path)
    squares = run(tasks[::-1])
    assert [receipt["square"] for receipt in squares] == SQUARES
    assert ran(tmp_path) == [task.name for task in tasks]
    (tmp_path / "receipts" / "t3.json").unlink()
    assert run(tasks) == squares
    assert ran(tmp_path) == ["t3"]
    assert run(tasks) == squares
    assert ran(tmp_path) == []


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_two_workers_make_the_same(tmp_path: Path, mode: Literal["multi_threading", "multi_processing"]) -> None:
    runner = dataclasses.replace(TWO_WORKERS, running_mode=mode)
    assert [receipt["square"] for receipt in run(make_tasks(tmp_path), runner)] == SQUARES
    pids = {line.split()[1] for line in (tmp_path / "ran").read_text().splitlines()}
    assert (str(os.getpid()) in pids) == (mode == "multi_threading")


def test_the_first_error_surfaces_and_once_fixed_one_rerun_completes(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path)
    for name in ("t4", "t2"):
        (tmp_path / f"forbid-{name}").touch()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^shard t2 is damaged$"):
            run(tasks)
    assert ran(tmp_path) == sorted([*(task.name for task in tasks), "t2", "t4"])
    for name in ("t4", "t2"):
        (tmp_path / f"forbid-{name}").unlink()
    receipts = run(tasks)
    assert ran(tmp_path) == ["t2", "t4"]
    assert [receipt["square"] for receipt in receipts] == SQUARES


@pytest.mark.slow
def test_an_error_surfaces_from_another_process_too(tmp_path: Path) -> None:
    (tmp_path / "forbid-t1").touch()
    with pytest.raises(ValueError, match=r"^shard t1 is damaged$"):
        run(make_tasks(tmp_path, 3), TWO_WORKERS)


def test_another_failure_stops_the_run_and_leaves_no_receipt(tmp_path: Path) -> None:
    tasks = make_tasks(tmp_path)
    (tmp_path / "crash").touch()
    with pytest.raises(Exception, match="no space left on device"):
        run(tasks)
    (tmp_path / "crash").unlink()
    assert [receipt["square"] for receipt in run(tasks)] == SQUARES


def test_no_tasks_no_receipts(tmp_path: Path) -> None:
    assert engine.run_tasks("none", [], square, tmp_path / "receipts", RUNNER) == []


def test_the_runner_is_named_on_beams_command_line() -> None:
    assert RUNNER.arguments() == ["--runner=FnApiRunner", "--direct_num_workers=1", "--direct_running_mode=in_memory"]
    other = dataclasses.replace(RUNNER, name="FlinkRunner", options=["--flink_master=local"])
    assert other.arguments() == ["--runner=FlinkRunner", "--flink_master=local"]


def test_dask_gets_its_full_name_and_one_task_a_partition() -> None:
    address = "--dask_client_address=tcp://127.0.0.1:1"
    name = "--runner=apache_beam.runners.dask.dask_runner.DaskRunner"
    dask = dataclasses.replace(RUNNER, name="DaskRunner", options=[address])
    assert dask.arguments() == [name, "--dask_partition_size=1", address]
    chosen = dataclasses.replace(dask, options=[address, "--dask_npartitions=4"])
    assert chosen.arguments() == [name, address, "--dask_npartitions=4"]
