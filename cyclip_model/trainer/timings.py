"""How fast training goes: for people and run records, never for a result."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch

from lineage import runs, stage

T = TypeVar("T")
_LAST = 3
"""Epochs that a summary is the mean of: the first ones may still read what later ones have."""


class Clock:
    """The time of one epoch, how much of it went by waiting for data, and how much by augmenting them."""

    def __init__(self) -> None:
        self._start, self._cpu_s = time.perf_counter(), runs.cpu_seconds()
        self._waited_s = self._augmented_s = 0.0

    def waiting_for(self, feed: Iterator[T]) -> Iterator[T]:
        """The feed; the time until each of its items is there counts as waiting: reading, decoding and moving."""
        while True:
            begun = time.perf_counter()
            try:
                item = next(feed)
            except StopIteration:
                return
            finally:
                self._waited_s += time.perf_counter() - begun
            yield item

    @contextlib.contextmanager
    def augmenting(self) -> Iterator[None]:
        """Counts the time inside as augmenting, which is work of its own."""
        begun = time.perf_counter()
        yield
        self._augmented_s += time.perf_counter() - begun

    def tell(self, path: Path, epoch: int, num_samples: int) -> None:
        """Appends a line of JSON: samples a second and a CPU second, shares of the time, most memory so far in MiB."""
        wall_s, cpu_s = time.perf_counter() - self._start, runs.cpu_seconds() - self._cpu_s
        said = {
            "epoch": epoch,
            "samples": num_samples,
            "seconds": round(wall_s, 3),
            "samples_per_s": round(num_samples / wall_s, 1),
            "samples_per_cpu_s": round(num_samples / max(cpu_s, 1e-9), 1),
            "data_wait": round(self._waited_s / wall_s, 4),
            "augmentation": round(self._augmented_s / wall_s, 4),
            "peak_mib": round(runs.peak_memory_bytes() / 2**20),
        }
        if torch.cuda.is_available():
            said["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")


def path(model: str) -> Path:
    """Where the training of a model tells how fast it goes."""
    return stage.WORK / "timings" / f"train-{model}.jsonl"


def summary(path: Path) -> dict[str, Any]:
    """Mean speed and shares of the last epochs of the training told of last, weighed by time, and its most memory.

    Lines of earlier trainings stand before; a training's epochs only go up. Where it told of none, there is nothing.
    """
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    told: list[dict[str, Any]] = []
    for line in reversed(lines):
        if told and line["epoch"] >= told[0]["epoch"]:
            break
        told.insert(0, line)
    if not told:
        return {}
    last = told[-_LAST:]
    seconds = sum(line["seconds"] for line in last)
    means = {
        share: round(sum(line[share] * line["seconds"] for line in last) / seconds, 4)
        for share in ("data_wait", "augmentation")
    }
    peaks = {peak: max(line[peak] for line in told) for peak in sorted(told[-1]) if peak.startswith("peak")}
    speed = round(sum(line["samples"] for line in last) / seconds, 1)
    return {"epochs": len(last), "samples_per_s": speed, **means, **peaks}
