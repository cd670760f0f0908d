"""Decoded rows on a disk: whole or not at all, found again, and never in memory as a whole."""

import errno
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cyclip_model.model import towers
from cyclip_model.model.towers import TowersConfig
from cyclip_model.rows import data, decoded_rows
from cyclip_model.rows.data import Batch, Packed

ROOT = Path(__file__).parents[3]
LARGE = """
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np, torch
from cyclip_model.rows.decoded_rows import OnDisk
from lineage import runs
folder, num_rows = Path(sys.argv[1]), 16384
rows = SimpleNamespace(snapshot=[""] * num_rows, uid=[""] * num_rows, side=(128, 128), num_tokens=77)
for name, size in (("images.u8", 3 * 128 * 128 * num_rows), ("tokens.i8", 8 * 77 * num_rows)):
    (folder / name).touch()
    import os
    os.truncate(folder / name, size)
class Sized(SimpleNamespace):
    def __len__(self): return num_rows
kept = OnDisk(folder, Sized(**vars(rows)))
assert kept.is_whole()
kept.take(np.arange(256))
before = runs.peak_memory_bytes()
for batch in np.random.default_rng(0).permutation(num_rows).reshape(-1, 256):
    kept.take(batch)
print((runs.peak_memory_bytes() - before) // 2**20)
"""


@pytest.fixture
def rows(tmp_path: Path, shards: Any, train_section: Callable[..., dict[str, Any]]) -> Packed:
    section = train_section()
    tiny = towers.build(TowersConfig(**section["towers"]).model_cfg(), section["preprocess"], seed=0)
    root = shards.pack(tmp_path / "set", {"train": shards.drawings(70)})
    return data.packed(root.parent / "shards", data.verified(root, root.parent / "shards"), "train", tiny)


def batches(rows: Packed) -> Iterator[Batch]:
    return map(rows.take, data.in_order(len(rows)))


def never(_rows: Packed) -> Iterator[Batch]:
    raise AssertionError("decoded again")
    yield


def assert_same(found: Batch, wanted: Batch) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_what_is_written_is_what_is_drawn(tmp_path: Path, rows: Packed) -> None:
    kept = decoded_rows.kept(tmp_path / "rows", rows, batches(rows))
    assert (kept.uid, kept.snapshot) == (rows.uid, rows.snapshot)
    for numbers in (np.array([69, 0, 33]), np.arange(0), np.arange(70)):
        assert_same(kept.take(numbers), rows.take(numbers))


def test_whole_files_are_found_again_and_others_written_anew(tmp_path: Path, rows: Packed) -> None:
    folder = tmp_path / "rows"
    decoded_rows.kept(folder, rows, batches(rows))
    assert_same(decoded_rows.kept(folder, rows, never(rows)).take(np.arange(3)), rows.take(np.arange(3)))
    with (folder / "images.u8").open("r+b") as file:
        file.truncate(100)
    assert_same(decoded_rows.kept(folder, rows, batches(rows)).take(np.arange(3)), rows.take(np.arange(3)))


def test_what_a_killed_run_had_half_written_is_not_taken(tmp_path: Path, rows: Packed) -> None:
    folder = tmp_path / "rows"

    def dying() -> Iterator[Batch]:
        yield next(batches(rows))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoded_rows.kept(folder, rows, dying())
    assert not folder.exists()
    assert_same(decoded_rows.kept(folder, rows, batches(rows)).take(np.arange(70)), rows.take(np.arange(70)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows", "rows.lock", "set"]


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: Path, rows: Packed) -> None:
    def full() -> Iterator[Batch]:
        yield next(batches(rows))
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ValueError, match=r"rows: No space left on device: make room, or set loader.cache to none"):
        decoded_rows.kept(tmp_path / "rows", rows, full())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.lock", "set"]


def test_of_two_processes_one_writes(tmp_path: Path, rows: Packed) -> None:
    def write() -> None:
        def told() -> Iterator[Batch]:
            (tmp_path / f"by{os.getpid()}").touch()
            yield from batches(rows)

        decoded_rows.kept(tmp_path / "rows", rows, told())

    processes = [multiprocessing.get_context("fork").Process(target=write) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list(tmp_path.glob("by*"))) == 1
    assert_same(decoded_rows.kept(tmp_path / "rows", rows, never(rows)).take(np.arange(70)), rows.take(np.arange(70)))


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 60, "768 MiB were read"
