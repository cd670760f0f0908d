"""How fast training goes: for people and run records, never for a result."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch

from lineage import runs, stage

logger = logging.getLogger("clipline")

T = TypeVar("T")
_LAST = 3
"""Epochs that a summary is the mean of: the first ones may still read what later ones have."""
_NEEDED = ("epoch", "samples", "seconds", "data_wait", "augmentation")


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
        """Appends a line of JSON: samples a second and a CPU second, shares of the time, most memory so far in MiB.

        Where it cannot be written, on a full disk for instance, that is a warning: no training fails for it.
        """
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
        try:
            _append(path, json.dumps(said))
        except OSError as error:
            _warn(path, error.strerror)


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        is_torn = False
        if file.tell():
            file.seek(-1, 2)
            is_torn = file.read(1) != b"\n"
        file.write(b"\n" * is_torn + line.encode() + b"\n")


@functools.cache  # every epoch of a training would say the same
def _warn(path: Path, why: str | None) -> None:
    logger.warning("%s: %s: how fast the training goes is not told", path, why)


def path(model: str) -> Path:
    """Where the training of a model tells how fast it goes."""
    return stage.WORK / "timings" / f"train-{model}.jsonl"


def summary(path: Path) -> dict[str, Any]:
    """Mean speed and shares of the last epochs of the training told of last, weighed by time, and its most memory.

    Lines of earlier trainings stand before; a training's epochs only go up. Where it told of none, there is nothing.
    Lines that are no whole record are left out.
    """
    lines = _whole(path) if path.is_file() else []
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
    names = sorted({peak for line in told for peak in line if peak.startswith("peak")})
    peaks = {peak: max(line[peak] for line in told if peak in line) for peak in names}
    speed = round(sum(line["samples"] for line in last) / seconds, 1)
    return {"epochs": len(last), "samples_per_s": speed, **means, **peaks}


def _whole(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole records: a full disk or a kill tears them."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and _is_whole(record):
            found.append(record)
    return found


def _is_whole(record: dict[str, Any]) -> bool:
    values = [record.get(key) for key in _NEEDED]
    values += [value for key, value in record.items() if key.startswith("peak")]
    is_numbers = all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    return is_numbers and record["seconds"] > 0
