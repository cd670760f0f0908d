"""Measure and pack make the same bytes on every way of running them: embedded, two processes, Dask, shuffled tasks."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import pytest

from pipelines import engine, measure, pack
from tests.builders import RUNNER, contents, enter, make_pairs, write_kept, write_params, write_raw
from tests.pipelines.source_builder import write_source
from tests.pipelines.test_engine import SQUARES, make_tasks, square

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
PAIRS = make_pairs(24)
TWO_PROCESSES = {"num_workers": 2, "running_mode": "multi_processing"}


@pytest.fixture
def dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A cluster of two processes, as Beam's options."""
    monkeypatch.chdir(tmp_path)  # the workers start in the project
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        yield [f"--dask_client_address={cluster.scheduler_address}"]


def run(runner: dict[str, Any] | None = None) -> dict[str, bytes]:
    """Returns every byte that measure and pack make."""
    write_params(runner=runner or {}, measure={"max_pixels": 10_000}, pack={"max_side_px": 18})
    raw, kept = Path("data/raw/s1"), Path("data/selection/s1/kept.parquet")
    measure.main(Path("data/source/s1"), raw, Path("data/signals/s1"), Path("provenance/measure/s1.json"))
    pack.main(raw, kept, Path("data/shards/s1"), Path("provenance/pack/s1.json"))
    made = {folder: contents(Path(folder)) for folder in ("data/signals", "data/shards", "provenance")}
    return {f"{folder}/{name}": content for folder, found in made.items() for name, content in found.items()}


def write_project() -> None:
    write_source(Path("data/source/s1"), PAIRS)
    write_raw(Path("data/raw/s1"), PAIRS)
    splits = {pair.uid: "val" if number % 5 == 0 else "train" for number, pair in enumerate(PAIRS) if number % 7}
    write_kept(Path("data/selection/s1/kept.parquet"), splits)


def test_every_way_of_running_makes_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dask: list[str]
) -> None:
    enter(tmp_path, monkeypatch)
    write_project()
    expected = run()
    assert sum(name.endswith(".tar") for name in expected) >= 7
    assert run(TWO_PROCESSES) == expected
    assert run({"name": "DaskRunner", "options": dask}) == expected
    for stage in (measure, pack):
        monkeypatch.setattr(stage, "run_tasks", _shuffled(stage.run_tasks))
    assert run() == expected
    assert run(TWO_PROCESSES) == expected


def test_tasks_and_errors_are_right_on_dask(tmp_path: Path, dask: list[str]) -> None:
    runner = engine.RunnerConfig(**{**_fields(), "name": "DaskRunner", "options": dask})
    tasks = make_tasks(tmp_path)
    receipts = engine.run_tasks("first", tasks[::-1], square, tmp_path / "first", runner)
    assert [receipt["square"] for receipt in receipts] == SQUARES
    workers = {line.split()[1] for line in (tmp_path / "ran").read_text().splitlines()}
    assert len(workers) == 2  # one task a partition: both processes had some
    (tmp_path / "forbid-t4").touch()
    with pytest.raises(ValueError, match=r"^shard t4 is damaged$"):
        engine.run_tasks("square", tasks, square, tmp_path / "receipts", runner)
    (tmp_path / "forbid-t4").unlink()
    receipts = engine.run_tasks("square", tasks, square, tmp_path / "receipts", runner)
    assert [receipt["square"] for receipt in receipts] == SQUARES


def _fields() -> dict[str, Any]:
    return {name: getattr(RUNNER, name) for name in RUNNER.__dataclass_fields__}


def _shuffled(run_tasks: Any) -> Any:
    def run_shuffled(label: str, tasks: list[Any], *arguments: Any) -> Any:
        mixed = list(tasks)
        random.Random(7).shuffle(mixed)
        assert mixed != tasks
        return run_tasks(label, mixed, *arguments)

    return run_shuffled
