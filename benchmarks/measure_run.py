"""Runs commands as fresh processes, in turn, and says what each took: wall and CPU seconds, peak memory, ratios.

The commands take turns (A B C A B C ...), so that a machine that slows down slows them all; ratios are taken round by
round against the first command, and the median is the one to quote. Memory is the sum over the process and its
children, sampled, and at least what the kernel accounts for the largest single one of them.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

_SAMPLE_S = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one run of one command took."""

    wall_s: float
    cpu_s: float
    """User and system time, of children it waited for, too."""
    peak_mib: float
    answer: dict[str, Any]
    """What the command wrote as the last line of its standard output, as JSON; empty if it wrote none."""


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Returns what one run of a command took.

    Raises:
        RuntimeError: if it fails.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
    peak = _Peak(process.pid)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit status {process.returncode}")
    lines = output.strip().splitlines()
    return Run(
        wall_s=wall_s,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mib=max(peak.stop(), usage.ru_maxrss / 1024),
        answer=json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {},
    )


def in_turn(
    commands: Mapping[str, Sequence[str]], rounds: int, environment: Mapping[str, str] | None = None
) -> dict[str, list[Run]]:
    """Returns the runs of each command, one a round."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            runs[name].append(measure(command, environment))
            sys.stderr.write(f"round {number + 1} of {rounds}: {name}: {runs[name][-1].wall_s:.2f} s\n")
    return runs


def table(runs: Mapping[str, Sequence[Run]]) -> str:
    """Returns the runs as a table in Markdown: medians, and ratios of wall time to the first command's."""
    baseline = next(iter(runs.values()))
    lines = ["| command | wall s | CPU s | peak MiB | wall / first (least to most) |", "|---|---|---|---|---|"]
    for name, its in runs.items():
        wall, cpu, peak = (
            statistics.median(getattr(run, field) for run in its) for field in ("wall_s", "cpu_s", "peak_mib")
        )
        ratios = [run.wall_s / other.wall_s for run, other in zip(its, baseline, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| {name} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {spread} |")
    return "\n".join(lines) + "\n"


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
