"""Contenders as fresh processes in turn, told as one table and as benchmarks/results/NAME.json.

The first contender of a heat is its baseline. Machines are noisy, so every contender runs several times, the rounds
interleaved, and CPU seconds stand beside wall seconds: what the machine does besides moves them less.
"""

import argparse
import dataclasses
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import measure_run
from measure_run import Run

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from lineage import files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("apache-beam", "duckdb", "img2dataset", "numpy", "opencv-python-headless", "pillow", "pyarrow")
_CORES = len(os.sched_getaffinity(0))

Runs = dict[str, list[Run]]


def nothing() -> None:
    """Prepares nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """One command to be measured."""

    name: str
    command: Sequence[str]
    folder: Path = ROOT
    """Where it runs."""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prepare: Callable[[], None] = nothing
    """Called before every run, unmeasured."""
    finish: Callable[[], None] = nothing
    """Called after every run, unmeasured."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Heat:
    """Contenders that did the same work; the first is the baseline."""

    title: str
    rows: int
    runs: Runs
    goal: str = ""
    """What the claim says of the ratio, in words."""

    def ratios(self, name: str, field: str) -> list[float]:
        """Returns a contender's figure over the baseline's, round by round."""
        baseline = next(iter(self.runs.values()))
        pairs = zip(self.runs[name], baseline, strict=True)
        return [getattr(run, field) / getattr(other, field) for run, other in pairs]


def hold(contenders: Sequence[Contender], rounds: int) -> Runs:
    """Returns the runs of each contender, one a round."""
    runs: Runs = {one.name: [] for one in contenders}
    for number in range(rounds):
        for one in contenders:
            run = measured(one)
            runs[one.name].append(run)
            say(f"round {number + 1} of {rounds}: {one.name}: {run.wall_s:.2f} s, {run.cpu_s:.2f} s of CPU")
    return runs


def measured(one: Contender) -> Run:
    """Returns what one run of a contender took.

    Raises:
        RuntimeError: if it fails.
    """
    one.prepare()
    try:
        run = measure_run.measure(one.command, one.folder, one.environment)
    except RuntimeError as error:
        raise RuntimeError(f"{one.name}: {error}") from error
    one.finish()
    return run


def report(name: str, heats: Sequence[Heat], facts: Mapping[str, Any], results: Path) -> None:
    """Writes results/NAME.json and shows its heats as tables.

    Args:
        facts: what else came of it, JSON-able.
    """
    content = {
        "benchmark": name,
        "heats": [_as_json(heat) for heat in heats],
        "facts": dict(facts),
        "machine": machine(),
    }
    files.write_json(results / f"{name}.json", content)
    for heat in heats:
        sys.stdout.write(f"\n{heat.title}{f' (goal: {heat.goal})' if heat.goal else ''}\n\n{table(heat)}")
    for key, value in facts.items():
        sys.stdout.write(f"\n{key}: {value}")
    sys.stdout.write(f"\n\n{results / f'{name}.json'}\n")


def table(heat: Heat) -> str:
    """Returns one heat in Markdown: medians, and ratios to its baseline with their least and greatest."""
    lines = ["| | rows | wall s | CPU s | peak MiB | wall ratio | CPU ratio |", "|---|---|---|---|---|---|---|"]
    for name, runs in heat.runs.items():
        wall, cpu, peak = (median(runs, field) for field in ("wall_s", "cpu_s", "peak_mib"))
        shown = " | ".join(_spread(heat.ratios(name, field)) for field in ("wall_s", "cpu_s"))
        lines.append(f"| {name} | {heat.rows} | {wall:.2f} | {cpu:.2f} | {peak:.0f} | {shown} |")
    return "\n".join(lines) + "\n"


def median(runs: Sequence[Run], field: str) -> float:
    """Returns the median of one figure."""
    return float(statistics.median(getattr(run, field) for run in runs))


def machine() -> dict[str, Any]:
    """Returns what the figures belong to; no host name."""
    return {
        "cores": _CORES,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def parser(description: str | None, *, rows: int, rounds: int, workers: int = _CORES) -> argparse.ArgumentParser:
    """Returns the options that every benchmark has, with their defaults."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rows", type=int, default=rows, help=f"default {rows}")
    made.add_argument("--rounds", type=int, default=rounds, help=f"runs of each contender, default {rounds}")
    made.add_argument("--workers", type=int, default=workers, help=f"processes, default {workers}")
    made.add_argument("--results", type=Path, default=RESULTS, help="folder of NAME.json")
    made.add_argument("--work", help=argparse.SUPPRESS)
    return made


def say(line: str) -> None:
    """Writes a line of progress to stderr."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")
    sys.stderr.flush()


def _as_json(heat: Heat) -> dict[str, Any]:
    contenders = {
        name: {
            **{field: [round(getattr(run, field), 3) for run in runs] for field in ("wall_s", "cpu_s", "peak_mib")},
            "wall_ratio": round(statistics.median(heat.ratios(name, "wall_s")), 3),
            "cpu_ratio": round(statistics.median(heat.ratios(name, "cpu_s")), 3),
        }
        for name, runs in heat.runs.items()
    }
    baseline = next(iter(heat.runs))
    return {
        "title": heat.title,
        "rows": heat.rows,
        "goal": heat.goal,
        "baseline": baseline,
        "contenders": contenders,
    }


def _spread(ratios: Sequence[float]) -> str:
    if max(ratios) - min(ratios) < 0.005:
        return f"{statistics.median(ratios):.2f}"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
