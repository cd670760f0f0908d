"""Runs one command as a fresh process and says what it took: wall and CPU seconds, peak memory, its own answer.

Memory is the sum over the process and its children, sampled; the kernel's own maximum would never be below that of the
process that started it.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

_SAMPLE_S = 0.05
_LOG_CHARS = 4000
"""Shown of what a command that fails has said."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one run of one command took."""

    wall_s: float
    cpu_s: float
    """User and system time, of children it waited for, too."""
    peak_mib: float
    answer: dict[str, Any]
    """What the command wrote as the last line of its standard output, as JSON; empty if it wrote none."""


def measure(command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] | None = None) -> Run:
    """Returns what one run of a command took.

    Raises:
        RuntimeError: if it fails; what it said on its standard error is shown.
    """
    with tempfile.TemporaryFile() as log:
        start = time.perf_counter()
        surroundings = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, cwd=folder, env=surroundings, stdout=subprocess.PIPE, stderr=log)
        peak = _Peak(process.pid)
        assert process.stdout is not None
        with process.stdout as stdout:
            lines = stdout.read().decode().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s, peak_mib = time.perf_counter() - start, peak.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-_LOG_CHARS:])
            raise RuntimeError(f"{' '.join(command)}: exit status {process.returncode}")
    found = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Run(wall_s=wall_s, cpu_s=usage.ru_utime + usage.ru_stime, peak_mib=peak_mib, answer=found)


def answer(**fields: Any) -> None:
    """Writes what a measured command has to say, as the last line of its standard output."""
    sys.stdout.write(json.dumps(fields) + "\n")


class _Peak:
    """The most memory that a process and its children held at once, sampled on a thread."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Ends the sampling and returns the peak in MiB."""
        self._over.set()
        self._thread.join()
        return self._most / 2**20

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            self._most = max(self._most, sum(_resident(member) for member in family))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
