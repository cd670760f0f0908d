"""What opt-outs would touch, and what it would cost, before anything is changed."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lineage import audit, dag, edges, records, trail
from lineage.questions import evaluation_sets, rows, subjects, who_saw
from lineage.questions.holdings import Holdings
from lineage.questions.subjects import RowArray

OptOut = tuple[str, str]
"""(kind, value) of records.OPTOUTS."""
BY = ("url_sha256", "host_sha256", "sha256", "phash")
"""Kinds of opt-outs; a pair that several name counts for the first."""


@dataclasses.dataclass(frozen=True, slots=True)
class Touched:
    """The rows of one snapshot that opt-outs name, ascending, and by which kind, (n,) of BY."""

    row_n: RowArray
    by_n: npt.NDArray[np.uint8]


def touched(held: Holdings, snapshot: str, opt_outs: Iterable[OptOut]) -> Touched:
    """Returns the rows that opt-outs name, whatever became of them: as rule opt_out of stage select judges.

    Raises:
        NotHereError: if the trail is not here.
        ValueError: if the recipe has no rule opt_out.
    """
    bits = max_distance(held)
    by_row: dict[int, int] = {}
    values = {kind: {value for named, value in opt_outs if named == kind} for kind in BY}
    named = (
        _by_key(held, snapshot, "url", values["url_sha256"]),
        _by_host(held, snapshot, values["host_sha256"]),
        _by_key(held, snapshot, "sha256", values["sha256"]),
        _by_look(held, snapshot, values["phash"], bits),
    )
    for number, row_n in reversed(list(enumerate(named))):
        by_row.update(dict.fromkeys(row_n.tolist(), number))
    found = sorted(by_row.items())
    return Touched(np.array([row for row, _ in found], np.uint32), np.array([by for _, by in found], np.uint8))


def impact(held: Holdings, opt_outs: Iterable[OptOut], graph: dag.Dag, costs: Mapping[str, float]) -> dict[str, Any]:
    """Returns what `impact --json` says.

    Args:
        held: the revision.
        opt_outs: what is asked to be left out.
        graph: the revision's DAG.
        costs: {stage instance: seconds of its last run}.

    Returns:
        opt_outs: number; pairs, kept: numbers; by: {kind: pairs}; snapshots: {name: {pairs, kept}}; shards: paths;
        copies: kept pairs of the same bytes under links that are not named; sets: {evaluation set: {part: rows}} that
        go with them, sets_not_here: those that cannot be looked into here; data_set: its digest if one is kept, else
        null; models: [{model, pairs, times, of_all}]; metrics: paths of those that
        would be computed anew; stages: [{stage, seconds, is_certain}]
        that would rerun, in order, `seconds` null where no run is known, `is_certain` false where it depends on what
        a changed scorer or a freed duplicate lets in; seconds: their sum.
    """
    entries = list(opt_outs)
    who_saw.check(held)
    found = {snapshot: touched(held, snapshot, entries) for snapshot in held.snapshots}
    told = {snapshot: _pairs(held, snapshot, these) for snapshot, these in found.items()}
    kept = {snapshot: [pair for pair in pairs if pair["kept"]] for snapshot, pairs in told.items()}
    models = [seen for name in who_saw.models(held) if (seen := _model(held, name, found))]
    sets = evaluation_sets.losses(
        held,
        {name: these.row_n for name, these in found.items()},
        [value for kind, value in entries if kind == "sha256"],
    )
    sure, most = changes(held, found, told, any(seen["model"] == audit.SCORER for seen in models), sets)
    certain, stages = set(stages_to_rerun(graph, sure)), stages_to_rerun(graph, most)
    shards = {f"data/shards/{name}/{pair['shard']}" for name, pairs in kept.items() for pair in pairs}
    by = [BY[number] for these in found.values() for number in these.by_n]
    evaluated = [name.partition("@")[2] for name in stages if name.startswith("evaluate@")]
    return {
        "opt_outs": len(entries),
        "pairs": len(by),
        "kept": sum(map(len, kept.values())),
        "by": {kind: by.count(kind) for kind in BY if kind in by},
        "snapshots": {name: {"pairs": len(told[name]), "kept": len(kept[name])} for name in told if told[name]},
        "shards": sorted(shards),
        "copies": sum(_copies(held, found).values()),
        "sets": sets,
        "sets_not_here": evaluation_sets.not_here(held),
        "data_set": who_saw.data_set(held) if any(kept.values()) else None,
        "models": models,
        "metrics": [who_saw.METRICS.format(name) for name in evaluated],
        "stages": [{"stage": name, "seconds": costs.get(name), "is_certain": name in certain} for name in stages],
        "seconds": round(sum(costs.get(name, 0.0) for name in stages), 1),
    }


def changes(
    held: Holdings,
    found: Mapping[str, Touched],
    told: Mapping[str, list[dict[str, Any]]],
    is_scorer_touched: bool,
    sets: Mapping[str, Mapping[str, int]],
) -> tuple["Changes", "Changes"]:
    """Returns which files a takedown changes for sure, and at most: the rest keeps its bytes, made anew or not."""
    named = {pair["uid"] for pairs in told.values() for pair in pairs}
    lists = {name for name, these in found.items() if len(these.row_n)}
    kept = {name for name, pairs in told.items() if any(pair["kept"] for pair in pairs)}
    freed = {name for name in held.snapshots if _stands_for_others(held, name, named)}
    # what was kept out for being like a test picture may then be kept
    is_test_lost = any(set(parts) - {evaluation_sets.TRAIN} for parts in sets.values())
    most = set(held.snapshots) if is_scorer_touched or is_test_lost else kept | freed
    return (
        Changes(frozenset(lists), frozenset(sets), frozenset(kept), is_scorer_touched),
        Changes(frozenset(lists), frozenset(sets), frozenset(most), is_scorer_touched or is_test_lost),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """What a takedown changes: `lists` and `sets` that lose rows, `kept` snapshots with another choice, the scorer."""

    lists: frozenset[str]
    sets: frozenset[str]
    kept: frozenset[str]
    is_scorer_touched: bool

    def roots(self) -> set[str]:
        """Returns the roots that change."""
        changed = (*(f"data/lists/{name}" for name in self.lists), *(f"data/sets/{name}" for name in self.sets))
        return {"data/optouts.parquet", *changed}

    def of(self, stage: str, outs: Iterable[str]) -> set[str]:
        """Returns which files or folders of a stage instance that reruns come out otherwise than before."""
        word, _, instance = stage.partition("@")
        data = {out for out in outs if not out.startswith("provenance/")}
        provenance = set(outs) - data
        if word == "screen":
            return provenance | (data if self.is_scorer_touched else set())
        if word == "select":
            chosen = {f"data/selection/{name}/kept.parquet" for name in self.kept}
            return provenance | chosen | {f"data/selection/{name}/verdicts.parquet" for name in self.lists | self.kept}
        if word == "pack":
            return provenance | (data if instance in self.kept else set())
        if word == "dataset":
            return provenance | ({"data/dataset/root.json"} if self.kept else set()) | {"data/dataset/datasheet.md"}
        return provenance | data


def stages_to_rerun(graph: dag.Dag, changed: Changes) -> list[str]:
    """Returns the stage instances that `dvc repro` would rerun after a takedown, in the order of the DAG."""
    dirty, done = changed.roots(), list[str]()
    for instance in in_order(graph):
        if any(_overlap(dep, path) for dep in instance.deps for path in dirty):
            done.append(instance.name)
            dirty |= changed.of(instance.name, instance.outs)
    return done


def in_order(graph: dag.Dag) -> list[dag.Instance]:
    """Returns stage instances so that each comes after what makes its deps; ties by name."""
    outs = graph.outs()
    makers = graph.makers()
    left = dict(sorted(graph.instances.items()))
    needs = {
        name: {makers[out] for dep in instance.deps for out in edges.producing(dep, outs)} & set(left) - {name}
        for name, instance in left.items()
    }
    ordered: list[dag.Instance] = []
    while left:
        ready = [name for name in left if not needs[name] & set(left)] or list(left)[:1]
        ordered += [left.pop(name) for name in ready]
    return ordered


def costs(held: Holdings, graph: dag.Dag) -> dict[str, float]:
    """Returns {stage instance: seconds that its newest run took}, read from the revision's run records."""
    found: dict[str, float] = {}
    for word in sorted({name.partition("@")[0] for name in graph.instances}):
        for line in (held.revision.read(f"runs/{word}.jsonl") or b"").splitlines():
            try:
                record = json.loads(line)
                name = word if record["instance"] == "all" else f"{word}@{record['instance']}"
                found[name] = float(record["seconds"])
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"runs/{word}.jsonl in {held}: holds a line that is no run record") from None
    return found


def max_distance(held: Holdings) -> int:
    """Returns how far a look may be from an opted-out one, as the recipe of select has it.

    Raises:
        ValueError: if there is no rule opt_out.
    """
    for rule in (held.params().get("select") or {}).get("rules") or []:
        if isinstance(rule, dict) and rule.get("rule") == "opt_out":
            return int(rule["max_distance"])
    raise ValueError(f"params.yaml in {held}: select.rules has no rule opt_out: opt-outs would change nothing")


def _by_key(held: Holdings, snapshot: str, name: str, values: set[str]) -> RowArray:
    return subjects.by_keys(held, snapshot, name, values) if values else np.empty(0, np.uint32)


def _by_host(held: Holdings, snapshot: str, values: set[str]) -> RowArray:
    """Returns the rows of opted-out hosts and of those below them, which only the names tell."""
    if not values:
        return np.empty(0, np.uint32)
    hosts = records.read_table(held.path(f"data/trail/{snapshot}/hosts.parquet"), trail.HOSTS)
    pairs = zip(hosts["host"].to_pylist(), hosts["host_sha256"].to_pylist(), strict=True)
    mine = [number for number, (host, digest) in enumerate(pairs) if digest in values or _is_below(host, values)]
    return subjects.of_hosts(held, snapshot, mine)


def _is_below(host: str | None, values: set[str]) -> bool:
    parts = (host or "").split(".")
    above = (".".join(parts[start:]) for start in range(1, len(parts)))
    return any(hashlib.sha256(name.encode()).hexdigest() in values for name in above)


def _by_look(held: Holdings, snapshot: str, values: set[str], bits: int) -> RowArray:
    every = [subjects.nearest(int(value, 16), held, snapshot, within=bits) for value in sorted(values)]
    return _joined([found.row_n for found in every])


def _joined(parts: list[RowArray]) -> RowArray:
    row_n: RowArray = np.unique(np.concatenate([np.empty(0, np.uint32), *parts]))
    return row_n


def _pairs(held: Holdings, snapshot: str, these: Touched) -> list[dict[str, Any]]:
    columns = ["uid", "kept", "shard"]
    return rows.by_numbers(held.path(f"data/trail/{snapshot}/pairs.parquet"), these.row_n.tolist(), columns)


def _model(held: Holdings, model: str, found: Mapping[str, Touched]) -> dict[str, Any] | None:
    counts = [who_saw.times(held, model, snapshot, these.row_n) for snapshot, these in found.items()]
    seen = sum(int(count_n.sum(dtype=np.int64)) for count_n in counts)
    number = sum(int(np.count_nonzero(count_n)) for count_n in counts)
    whole = who_saw.total(held, model)
    return {"model": model, "pairs": number, "times": seen, "of_all": seen / whole} if seen else None


def _stands_for_others(held: Holdings, snapshot: str, named: set[str]) -> bool:
    """Returns whether a row of a snapshot was dropped as the duplicate of, or because of, a pair that is named."""
    return bool(len(subjects.by_keys(held, snapshot, trail.DUPLICATES, named)))


def _copies(held: Holdings, found: Mapping[str, Touched]) -> dict[str, int]:
    """Returns {snapshot: kept rows that have the bytes of a named row and are not named themselves}."""
    hashes: set[str] = set()
    for snapshot, these in found.items():
        hashes |= subjects.digests_of(held, snapshot, "sha256", these.row_n)
    copies = {}
    for snapshot, these in found.items():
        same = subjects.by_keys(held, snapshot, "sha256", hashes)
        others = np.setdiff1d(same, these.row_n)
        told = rows.by_numbers(held.path(f"data/trail/{snapshot}/pairs.parquet"), others.tolist(), ["kept"])
        copies[snapshot] = sum(row["kept"] for row in told)
    return copies


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
