"""How fast training goes: for people, never for a result."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from lineage import runs


class Clock:
    """The time of one epoch, and how much of it went by waiting for data."""

    def __init__(self) -> None:
        self._start, self._cpu_s, self._waited_s = time.perf_counter(), runs.cpu_seconds(), 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside as waiting for data: reading, moving and augmenting."""
        begun = time.perf_counter()
        yield
        self._waited_s += time.perf_counter() - begun

    def tell(self, path: Path, epoch: int, num_samples: int) -> None:
        """Appends a line of JSON: samples a second and a CPU second, share of the wait, most memory so far in MiB."""
        wall_s, cpu_s = time.perf_counter() - self._start, runs.cpu_seconds() - self._cpu_s
        said = {
            "epoch": epoch,
            "samples": num_samples,
            "samples_per_s": round(num_samples / wall_s, 1),
            "samples_per_cpu_s": round(num_samples / max(cpu_s, 1e-9), 1),
            "data_wait": round(self._waited_s / wall_s, 4),
            "peak_mib": round(runs.peak_memory_bytes() / 2**20),
        }
        if torch.cuda.is_available():
            said["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(said) + "\n")
