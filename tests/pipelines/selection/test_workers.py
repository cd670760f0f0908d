"""Workers: the same tables in memory and in files; what is on disk is not made again."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.selection.workers import InMemory, OnBeam, column, loaded, opened
from tests.builders import RUNNER


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    name: str
    number: int
    log: Path


def square(task: Task) -> pa.Table:
    if task.number < 0:
        raise ValueError(f"{task.name}: {task.number} is negative")
    with task.log.open("a") as log:
        log.write(f"{task.name}\n")
    return pa.table({"square": [n * n for n in range(task.number)]})


def tasks(log: Path, *numbers: int) -> list[Task]:
    return [Task(name=f"t{number}", number=number, log=log) for number in numbers]


def test_tables_come_in_the_order_of_the_tasks(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for workers in (InMemory(), OnBeam(folder=tmp_path / "steps", runner=RUNNER)):
        made = workers.each("s1 squares", tasks(log, 3, 0, 2), square)
        assert [opened(one)["square"].to_pylist() for one in made] == [[0, 1, 4], [], [0, 1]]
        assert column(opened(made[0]), "square").tolist() == [0, 1, 4]
        assert column(opened(made[1]), "square").tolist() == []


def test_a_step_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    workers = OnBeam(folder=tmp_path / "steps", runner=RUNNER)
    workers.each("s1 squares", tasks(log, 2), square)
    made = workers.each("s1 squares", tasks(log, 2, 1), square)
    assert [opened(one).num_rows for one in made] == [2, 1]
    assert log.read_text().splitlines() == ["t2", "t1"]
    workers.each("s2 squares", tasks(log, 2), square)
    assert log.read_text().splitlines() == ["t2", "t1", "t2"]


def test_a_mistake_of_the_users_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="t-1: -1 is negative"):
        OnBeam(folder=tmp_path / "steps", runner=RUNNER).each("s1 squares", tasks(tmp_path / "log", 1, -1), square)


def test_arrays_are_held_and_joined(tmp_path: Path) -> None:
    first, second = np.arange(6, dtype=np.uint8).reshape(3, 2), np.array([[9, 8]], np.uint8)
    for workers in (InMemory(), OnBeam(folder=tmp_path, runner=RUNNER)):
        np.testing.assert_array_equal(loaded(workers.hold("s1 x ids", np.array([1.5, np.nan]))), [1.5, np.nan])
        joined = loaded(workers.join("s1 x both", [first, second[:0], second]))
        assert joined.tolist() == [[0, 1], [2, 3], [4, 5], [9, 8]]
        assert joined.dtype == np.dtype(np.uint8)
        assert len(loaded(workers.hold("s1 x none", np.empty(0, bool)))) == 0
