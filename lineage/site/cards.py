"""What there is to know of each model: data set, objective, params, environment, metrics, and what it saw."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from lineage.site.holding import Holding

SCORER = "scorer"
_PREFERRED = ("top_1", "recall_1", "fine_top_1", "k_1", "alignment", "recall_10")
"""Metrics that stand for their protocol, the best known first."""
_ROOT = "data/dataset/root.json"
_DEPTH = 5
"""Keys above a number in metrics.json: set, protocol, part, variant, metric."""
_ENVIRONMENT = ("commit", "dirty", "python", "device", "requirements", "seconds", "peak_memory_bytes")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of a result."""

    set: str
    protocol: str
    part: str
    variant: str
    name: str
    value: float
    chance: float | None
    n: int | None

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What it measures."""
        return (self.set, self.protocol, self.part, self.variant, self.name)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One model."""

    name: str
    objective: str
    seed: str
    dataset: str
    """Digest of the data set it was trained on, with a word where that is not this revision's."""
    params: list[tuple[str, str]]
    counts: list[tuple[str, str]]
    environment: list[tuple[str, str]]
    """Of the run record; empty: unattested."""
    files: list[tuple[str, str]]
    weights: str
    """md5 of the weights."""
    metrics: list[Metric]
    headline: list[Metric]
    frequencies: list[tuple[int, int]]
    """(how often, pairs), ascending."""
    strays: int
    """Exposures to pairs that no snapshot of this revision has."""

    @property
    def pairs(self) -> int:
        """Pairs it saw."""
        return sum(pairs for _, pairs in self.frequencies)

    @property
    def machine(self) -> str:
        """What it ran on, in a few words; empty where no run record tells."""
        known = dict(self.environment)
        words = {"device": "", "python": "Python ", "torch": "torch "}
        return ", ".join(f"{word}{known[key]}" for key, word in words.items() if key in known)

    @property
    def exposures(self) -> int:
        """How often in all."""
        return sum(count * pairs for count, pairs in self.frequencies)


def card(holding: Holding, name: str, frequencies: Mapping[int, int], strays: int) -> Card:
    """Returns the card of a model."""
    stage, instance = (SCORER, "all") if name == SCORER else ("train", name)
    file = f"provenance/{stage}/{instance}.json"
    described = holding.mapping(file) if holding.has(file) else {}
    objective, _, seed = name.rpartition("-")
    outs = _inside(described, "outs", f"models/{name}", "files")
    metrics = list(_metrics(holding, name))
    weights = next((str(md5) for path, md5 in sorted(outs.items()) if path.endswith("open_clip_model.safetensors")), "")
    return Card(
        name=name,
        objective="scores pairs for select" if name == SCORER else objective,
        seed=str(_inside(described, "params", SCORER).get("seed", "")) if name == SCORER else seed,
        dataset=_dataset(holding, described, name),
        params=sorted(_flat(described.get("params", {}))),
        counts=sorted(_flat(described.get("counts", {}))),
        environment=_environment(holding, stage, instance),
        files=sorted((path, str(md5)) for path, md5 in outs.items()),
        weights=weights,
        metrics=metrics,
        headline=headline(metrics),
        frequencies=sorted(frequencies.items()),
        strays=strays,
    )


def headline(metrics: Sequence[Metric]) -> list[Metric]:
    """Returns one metric for each set and protocol, on the part of most rows."""
    chosen: dict[tuple[str, str], Metric] = {}
    for metric in metrics:
        key = (metric.set, metric.protocol)
        if key not in chosen or _rank(metric) < _rank(chosen[key]):
            chosen[key] = metric
    return [metric for metric in chosen.values() if metric.name in _PREFERRED]


def _rank(metric: Metric) -> tuple[int, int, str, str]:
    place = _PREFERRED.index(metric.name) if metric.name in _PREFERRED else len(_PREFERRED)
    return (place, -(metric.n or 0), metric.part, metric.variant)


def _dataset(holding: Holding, described: Mapping[str, Any], name: str) -> str:
    parent = _inside(described, "parents").get(_ROOT)
    if parent is None:
        return "the screened pairs of the first snapshot" if name == SCORER else "not recorded"
    if parent != holding.digest(_ROOT):
        return f"another than this revision's: root.json was {parent}"
    return str(holding.mapping(_ROOT).get("digest", ""))


def _environment(holding: Holding, stage: str, instance: str) -> list[tuple[str, str]]:
    """Returns what the run record says that made the outs of this revision, the newest if there are several."""
    ran = holding.graph.instances.get(stage if instance == "all" else f"{stage}@{instance}")
    matching = [record for record in _records(holding, stage) if ran and record.get("outs") == ran.outs]
    mine = [record for record in matching if record.get("instance") == instance]
    if not mine:
        return []
    known = [(key, str(mine[-1].get(key))) for key in _ENVIRONMENT if mine[-1].get(key) is not None]
    return known + [(name, str(version)) for name, version in sorted(_inside(mine[-1], "versions").items())]


def _records(holding: Holding, stage: str) -> Iterator[dict[str, Any]]:
    for line in (holding.at.read(f"runs/{stage}.jsonl") or b"").decode("utf-8", "replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict):
            yield record


def _metrics(holding: Holding, name: str) -> Iterator[Metric]:
    file = f"results/{name}/metrics.json"
    for path, value in _leaves(holding.mapping(file).get("sets") if holding.has(file) else {}, ()):
        number, chance, n = (value.get(key) for key in ("value", "chance", "n"))
        if len(path) == _DEPTH and isinstance(number, int | float) and isfinite(number):
            yield Metric(
                set=path[0],
                protocol=path[1],
                part=path[2],
                variant=path[3],
                name=path[4],
                value=number,
                chance=chance if isinstance(chance, int | float) else None,
                n=n if isinstance(n, int) else None,
            )


def _leaves(content: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yields the mappings that have a value, with their keys."""
    if not isinstance(content, dict):
        return
    if "value" in content:
        yield path, content
        return
    for key in sorted(content):
        yield from _leaves(content[key], (*path, key))


def _inside(content: Any, *keys: str) -> dict[str, Any]:
    """Returns the mapping under some keys, an empty one if there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def _flat(content: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, json.dumps(content, ensure_ascii=False)


def compared(cards: Sequence[Card]) -> list[tuple[Metric, list[Metric | None]]]:
    """Returns the headlines of all models side by side: (what is measured, that of each model or None)."""
    names = {metric.key: metric for one in cards for metric in one.headline}
    found = [{metric.key: metric for metric in one.metrics} for one in cards]
    return [(names[key], [metrics.get(key) for metrics in found]) for key in sorted(names)]
