import inspect
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.web import worker_pool
from tests.pipelines.processes import ended

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import sys
from pipelines.web import worker_pool
from tests.pipelines import pool_shards
shards = [(number, sys.argv[2]) for number in range(12)]
worker_pool.distribute(2, getattr(pool_shards, sys.argv[1]), iter(shards), 1000, 1)
"""


def start(work: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, work, str(folder)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def test_every_shard_is_worked_on_by_the_same_workers(tmp_path: Path) -> None:
    with start("finish", tmp_path) as process:
        assert process.wait(60) == 0
    made = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert [path.name for path in made] == [str(number) for number in range(12)]
    assert len({path.read_text() for path in made}) <= 2


def test_a_dead_worker_ends_the_run_with_its_own_status(tmp_path: Path) -> None:
    with start("die_at_two", tmp_path) as process:
        _, told = process.communicate(timeout=60)
        assert process.returncode == worker_pool.WORKER_DIED
    assert "a worker process died\n" in told
    assert not (tmp_path / "2").exists()


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    with start("linger", tmp_path) as process:
        deadline = time.monotonic() + 60
        while len(pids := [path.read_text() for path in tmp_path.iterdir()]) < 2 or not all(pids):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    assert all(ended(int(pid)) for pid in pids)
    assert os.getpid() not in map(int, pids)


@pytest.mark.slow
def test_img2dataset_still_has_the_place_that_the_pool_is_put_in() -> None:
    script = """
import importlib, inspect
distributor, main = (importlib.import_module(f"img2dataset.{name}") for name in ("distributor", "main"))
assert main.multiprocessing_distributor is distributor.multiprocessing_distributor
print(*inspect.signature(main.multiprocessing_distributor).parameters)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    theirs, ours = done.stdout.split(), list(inspect.signature(worker_pool.distribute).parameters)
    assert theirs[:3] == ["processes_count", "downloader", "reader"]
    assert ours[:2] == theirs[:2]
