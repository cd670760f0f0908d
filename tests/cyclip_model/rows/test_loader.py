"""Rows in memory, on a disk or in the shards, with workers or without: the same batches and the same weights."""

import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cyclip_model import train
from cyclip_model.model import towers
from cyclip_model.model.towers import TowersConfig
from cyclip_model.rows import data, loader
from cyclip_model.rows.data import Batch, Numbers, Packed
from cyclip_model.rows.loader import LoaderConfig
from cyclip_model.trainer import loop
from cyclip_model.trainer.step import backward
from tests.cyclip_model.test_train import LOSSES

ROOT = Path(__file__).parents[3]
ORPHAN = """
import os, time
import numpy as np, torch
from cyclip_model.rows.data import Batch
from cyclip_model.rows.loader import Stream
class Telling:
    uid = snapshot = ["a"] * 9
    def take(self, numbers):
        return Batch(torch.zeros(1), torch.tensor(os.getpid()))
feed = Stream(Telling(), 1, 1).stream(np.arange(9).reshape(9, 1))
print(int(next(feed).tokens_RL), flush=True)
time.sleep(60)
"""
CPU = torch.device("cpu")
CHOICES = [("ram", 0), ("ram", 2), ("disk", 0), ("disk", 1), ("none", 0), ("none", 1), ("none", 2)]


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture
def project(
    tmp_path: Path, shards: Any, train_section: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project of its own with 24 drawings to train on and 3 held out; returns root.json."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump({"train": train_section(epochs=3), "losses": LOSSES}))
    root: Path = shards.pack(Path("data"), {"train": shards.drawings(24), "val": shards.drawings(3)})
    return root


@pytest.fixture
def tiny(train_section: Callable[..., dict[str, Any]]) -> towers.Loaded:
    section = train_section()
    return towers.build(TowersConfig(**section["towers"]).model_cfg(), section["preprocess"], seed=0)


def packed(root: Path, tiny: towers.Loaded) -> Packed:
    return data.packed(root.parent / "shards", data.verified(root, root.parent / "shards"), "train", tiny)


def load_from(cache: str, workers: int) -> LoaderConfig:
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["loader"] = {"cache": cache, "workers": workers, "prefetch": 2}
    Path("params.yaml").write_text(yaml.safe_dump(content))
    return LoaderConfig(**content["loader"])


def weights(root: Path, cache: str, workers: int) -> str:
    """Trains as the stage does, and returns a digest of the model folder."""
    load_from(cache, workers)
    model = Path("models/clip-0")
    train.main(root, root.parent / "shards", model, Path("provenance/train/clip-0.json"))
    names = sorted(path.name for path in model.iterdir())
    assert "rows" not in names
    content = [(model / name).read_bytes() for name in names] + [Path("provenance/train/clip-0.json").read_bytes()]
    return hashlib.sha256(b"".join(content)).hexdigest()


def test_every_way_gives_the_same_batches(project: Path, tiny: towers.Loaded) -> None:
    rows = packed(project, tiny)
    orders = [data.batches(24, 8, 0, epoch) for epoch in range(2)]
    wanted = [[rows.take(batch) for batch in order] for order in orders]
    for cache, workers in CHOICES:
        with loader.opened(rows, load_from(cache, workers), Path(f"scratch{cache}{workers}"), CPU) as source:
            assert (source.uid, source.snapshot, len(source)) == (rows.uid, rows.snapshot, 24)
            for order, batches in zip(orders, wanted, strict=True):
                for found, batch in zip(source.stream(order), batches, strict=True):
                    assert torch.equal(found.images_RCSS, batch.images_RCSS)
                    assert torch.equal(found.tokens_RL, batch.tokens_RL)


def test_every_way_gives_the_same_model_and_leaves_no_rows(project: Path) -> None:
    found = {choice: weights(project, *choice) for choice in CHOICES}
    assert len(set(found.values())) == 1, found
    assert [path.name for path in Path(".work").iterdir() if path.is_dir()] == ["timings"]


@pytest.mark.parametrize("ways", [[("none", 2), ("disk", 1)], [("disk", 0), ("ram", 0)], [("ram", 0), ("none", 1)]])
def test_a_run_killed_within_an_epoch_goes_on_with_another_way(
    project: Path, ways: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = weights(project, "ram", 0)
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", -1)  # a checkpoint after every step
    calls = [0]

    def dying(*arguments: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:  # the second step of the second epoch
            raise KeyboardInterrupt
        return backward(*arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "backward", dying)
        with pytest.raises(KeyboardInterrupt):
            weights(project, *ways[0])
    kept = [path.relative_to(".work").parts[1:] for path in Path(".work").rglob("images.u8")]
    assert sorted(kept) == (
        [("rows", split, "images.u8") for split in ("train", "val")] if ways[0][0] == "disk" else []
    )
    assert weights(project, *ways[1]) == wanted


@pytest.mark.parametrize(("cache", "workers"), CHOICES)
def test_a_picture_that_does_not_decode_is_named(
    tmp_path: Path, shards: Any, tiny: towers.Loaded, cache: str, workers: int
) -> None:
    good = shards.drawings(3)
    root = shards.pack(tmp_path, {"train": [*good[:2], {**good[2], "png": good[2]["png"][:100]}]})
    config = LoaderConfig(cache=cache, workers=workers, prefetch=1)  # type: ignore[arg-type]
    with (
        pytest.raises(ValueError, match=r"^\S*s1/train/00000.tar, key train0002: the picture does not decode .*drop$"),
        loader.opened(packed(root, tiny), config, tmp_path / "rows", CPU) as source,
    ):
        list(source.stream([np.array([0, 1]), np.array([2, 0])]))


def test_an_empty_split_is_no_rows(project: Path, tiny: towers.Loaded) -> None:
    rows = data.packed(project.parent / "shards", [], "train", tiny)
    for cache in ("ram", "disk", "none"):
        with loader.opened(rows, load_from(cache, 1), Path("scratch"), CPU) as source:
            assert len(source) == 0


def test_rows_in_memory_are_decoded_once_and_then_need_no_worker(project: Path, tiny: towers.Loaded) -> None:
    rows = packed(project, tiny)
    wanted = rows.take(np.arange(24))
    with loader.opened(rows, load_from("ram", 1), Path("scratch"), CPU) as source:
        list(source.stream(np.arange(16).reshape(2, 8)))
        assert len(multiprocessing.active_children()) == 1
        list(source.stream(np.arange(24).reshape(3, 8)))
        assert multiprocessing.active_children() == []
        (project.parent / "shards/s1/train/00000.tar").unlink()
        (found,) = source.stream([np.arange(24)])
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_one_stream_over_epochs_decodes_each_row_once(
    project: Path, tiny: towers.Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, pixels, told = packed(project, tiny), data._pixels, Path("decoded.txt")

    def telling(picture: bytes, preprocess: Any, place: str) -> torch.Tensor:
        with told.open("a") as file:  # the workers, forked, have it too
            file.write(f"{place}\n")
        return pixels(picture, preprocess, place)

    epochs = [data.batches(24, 10, 0, epoch) for epoch in range(5)]  # four rows are left out of each
    wanted = [rows.take(batch) for order in epochs for batch in order]
    monkeypatch.setattr(data, "_pixels", telling)
    with loader.opened(rows, load_from("ram", 2), Path("scratch"), CPU) as source:
        found = list(source.stream(batch for order in epochs for batch in order))
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.images_RCSS, other.images_RCSS)
    places = told.read_text().splitlines()
    assert len(places) == len(set(places)) == 24


def test_rows_in_memory_do_not_hold_the_whole_order(project: Path, tiny: towers.Loaded) -> None:
    pulled = []

    def order() -> Iterator[Numbers]:
        for number in range(50):
            pulled.append(number)
            yield np.arange(8)

    with loader.opened(packed(project, tiny), load_from("ram", 2), Path("scratch"), CPU) as source:
        feed = source.stream(order())
        next(feed)
        assert len(pulled) <= 2 * 2 + 1, "workers times prefetch, and the one that came"
        assert len([1 for _ in feed]) == 49


class Telling:
    """Rows that leave a mark for each batch taken, and say which process took it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.uid, self.snapshot = folder, ["a"] * 16, ["s1"] * 16

    def take(self, numbers: Numbers) -> Batch:
        (self.folder / str(numbers[0])).touch()
        return Batch(torch.zeros(1), torch.tensor(os.getpid()))


@contextmanager
def streaming(rows: Any, workers: int, prefetch: int) -> Iterator[loader.Stream]:
    stream = loader.Stream(rows, workers, prefetch)
    try:
        yield stream
    finally:
        stream.close()


def test_workers_are_ahead_by_so_many_batches_and_stay_for_the_next_epoch(tmp_path: Path) -> None:
    order = np.arange(16).reshape(8, 2)
    with streaming(Telling(tmp_path), 1, 3) as stream:
        feed = stream.stream(order)
        first = next(feed)
        until = time.monotonic() + 20
        while len(list(tmp_path.iterdir())) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        assert len(list(tmp_path.iterdir())) == 4, "the one asked for, and three that are ready"
        processes = {int(batch.tokens_RL) for batch in [first, *feed, *stream.stream(order)]}
    assert len(processes) == 1
    assert os.getpid() not in processes


def test_without_workers_it_is_done_here_and_the_global_generator_left_alone(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    with streaming(Telling(tmp_path), 0, 1) as stream:
        assert {int(batch.tokens_RL) for batch in stream.stream(np.arange(4).reshape(2, 2))} == {os.getpid()}
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_worker_dies_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    until = time.monotonic() + 3  # torch's own watchdog looks every five seconds
    while Path(f"/proc/{worker}").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert not Path(f"/proc/{worker}").exists()


@pytest.mark.parametrize("change", [{"workers": -1}, {"prefetch": 0}])
def test_settings_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        LoaderConfig(**{"cache": "ram", "workers": 0, "prefetch": 1, **change})  # type: ignore[arg-type]
