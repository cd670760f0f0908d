"""Results of several models as one table: every metric of every objective over its seeds."""

import csv
import io
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineage import files, params

Key = tuple[str, str, str, str, str]
"""(set, protocol, part, variant, metric)"""
CSV_HEADER = "set protocol part variant metric objective seed n value chance majority standard_error".split()


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One metric of one objective over its seeds."""

    by_seed: dict[int, float]
    """Its value of every seed that has one, in the order of the seeds."""
    chances: list[float]
    """One a seed; empty where chance is meaningless."""
    majority: float | None
    n: int | None
    """Test rows; None where the value does not say how many it is of."""
    errors: list[float] = field(default_factory=list)
    """Standard errors of the values from the test rows alone, one a seed; empty where none is known."""

    @property
    def values(self) -> list[float]:
        """One a seed, in the order of the seeds."""
        return list(self.by_seed.values())

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation over seeds, None with one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def chance(self) -> float | None:
        """Chance level, a mean over seeds: that of an agreement differs between models."""
        return statistics.fmean(self.chances) if self.chances else None

    @property
    def standard_error(self) -> float | None:
        """What the test rows alone leave around the value of one seed, a mean over seeds."""
        return statistics.fmean(self.errors) if self.errors else None


@dataclass(kw_only=True, slots=True)
class Table:
    """Every metric of every objective."""

    objectives: list[str]
    seeds: list[int]
    cells: dict[Key, dict[str, Cell]] = field(default_factory=dict)
    models: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the results say of each objective's first model."""
    absent: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Sets that a model was not measured on: why, and how to get them."""
    histories: dict[str, dict[int, list[dict[str, float]]]] = field(default_factory=dict)
    """Every epoch of every training run, by objective and seed, where the results have it."""

    def file(self, key: Key, objective: str, by_seed: Mapping[int, Mapping[str, Any]]) -> None:
        """Adds one metric of one objective, a leaf of metrics.json a seed."""
        levels = {
            name: [leaf[name] for leaf in by_seed.values() if leaf.get(name) is not None]
            for name in ("chance", "standard_error")
        }
        first = next(iter(by_seed.values()))
        self.cells.setdefault(key, {})[objective] = Cell(
            by_seed={seed: leaf["value"] for seed, leaf in by_seed.items()},
            chances=levels["chance"],
            errors=levels["standard_error"],
            majority=first.get("majority"),
            n=first.get("n"),
        )


def listed(path: Path = params.PARAMS) -> tuple[list[str], list[int]]:
    """(objectives, seeds) of a params file.

    Raises:
        ValueError: one of them is empty, or a seed stands there twice.
    """
    objectives, seeds = params.names("objectives", path), params.seeds(path)
    for key, found in (("objectives", objectives), ("seeds", seeds)):
        if not found:
            raise ValueError(f"{path}: {key} is empty: there is no model to speak of")
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"{path}: seeds lists a seed twice")
    return objectives, seeds


def read(results: Path, objectives: list[str], seeds: list[int]) -> tuple[Table, list[dict[str, Any]]]:
    """The table, and every single value as a row of metrics.csv.

    Raises:
        FileNotFoundError: a model that the params list has no results.
    """
    table, rows = Table(objectives=objectives, seeds=seeds), []
    for objective in objectives:
        found = {seed: _read_one(results / f"{objective}-{seed}" / "metrics.json") for seed in seeds}
        table.models[objective] = found[seeds[0]]["model"]
        table.histories[objective] = {
            seed: content["history"] for seed, content in found.items() if content.get("history")
        }
        for content in found.values():
            table.absent.update(content.get("absent", {}))
        rows += [row for seed, content in found.items() for row in _rows(content["sets"], objective, seed)]
    for (*key, objective), leaves in _grouped(rows):
        table.file(tuple(key), objective, {leaf["seed"]: leaf for leaf in leaves})
    return table, rows


def _read_one(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `dvc repro evaluate@{path.parent.name}` makes it")
    content = files.read_json(path)
    if not isinstance(content, dict) or not {"model", "sets"} <= set(content):
        raise ValueError(
            f"{path} has no model or no sets: `dvc repro --force evaluate@{path.parent.name}` makes it anew"
        )
    return content


def _rows(sets: Mapping[str, Any], objective: str, seed: int) -> Iterator[dict[str, Any]]:
    for key, leaf in _leaves(sets, ()):
        yield {
            **dict(zip(CSV_HEADER, key, strict=False)),
            "objective": objective,
            "seed": seed,
            "standard_error": None,
            **leaf,
        }


def _leaves(node: Mapping[str, Any], key: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for name, child in node.items():
        if len(key) == 4:
            yield (*key, name), child
        else:
            yield from _leaves(child, (*key, name))


def _grouped(rows: Iterable[dict[str, Any]]) -> list[tuple[Any, list[dict[str, Any]]]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in CSV_HEADER[:6]), []).append(row)
    return list(groups.items())


def csv_text(rows: list[dict[str, Any]], header: Sequence[str] = CSV_HEADER) -> str:
    """Rows as CSV: sorted by their first seven columns, empty where a number is meaningless."""
    target = io.StringIO()
    writer = csv.DictWriter(target, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: [row[name] for name in header[:7]]))
    return target.getvalue()
