"""What another recipe of stage select would change, in memory and without writing anything.

    python -m pipelines.select --what-if clip_score.min=0.3 --what-if side.drop=true --without aspect [--json]

The fold is the stage's own, over the same inputs; only the recipe differs, and what it keeps is held against
data/selection as it is.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
import typer
from rich.console import Console
from rich.table import Table
from ruamel.yaml.error import YAMLError

from lineage import params, records
from pipelines import rules
from pipelines.rules import SelectConfig
from pipelines.selection import exclusion
from pipelines.selection.fold import fold
from pipelines.selection.outcome import Outcome, snapshot_of
from pipelines.selection.rows import Sources
from pipelines.selection.verdicts import worded
from pipelines.selection.workers import InMemory

Changes = Sequence[str]
_SHOWN = 12
"""Groups of one dimension in the tables: those that change most."""


def is_asked(arguments: Sequence[str]) -> bool:
    """Returns whether the command line asks for a what-if rather than for the stage."""
    return any(word.split("=")[0] in ("--what-if", "--without") for word in arguments)


def main(
    what_if: Annotated[list[str] | None, typer.Option("--what-if", metavar="RULE.KEY=VALUE")] = None,
    without: Annotated[list[str] | None, typer.Option("--without", metavar="RULE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="plain data instead of tables")] = False,
    data: Annotated[Path, typer.Option("--data", help="the folder of signals, embeddings, selection, ...")] = Path(
        "data"
    ),
) -> None:
    """Shows what another recipe would keep, held against the selection there is."""
    config = params.load("select", SelectConfig)
    snapshots = params.names("snapshots")
    recipe = rules.parse(altered(config.rules, what_if or [], without or []))
    report = compare(recipe, config, snapshots, data)
    report["changes"] = {"what_if": list(what_if or []), "without": list(without or [])}
    if as_json:
        sys.stdout.write(json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    else:
        show(report, Console())


def altered(listed: Sequence[Mapping[str, Any]], changes: Changes, without: Changes) -> list[dict[str, Any]]:
    """Returns a recipe with some keys changed and some rules left out.

    Args:
        listed: `select.rules`.
        changes: RULE.KEY=VALUE, where RULE is a label and VALUE is YAML; RULE.drop=true leaves the rule out.
        without: labels of rules to leave out.

    Raises:
        ValueError: if a change has another form, or no rule has the label.
    """
    made = [dict(entry) for entry in listed]
    gone = set()
    for label in without:
        gone.add(_place(made, label))
    for change in changes:
        name, found, text = change.partition("=")
        label, dot, key = name.partition(".")
        if not (found and dot and key):
            raise ValueError(f"--what-if {change}: write it as RULE.KEY=VALUE, as in clip_score.min=0.3")
        try:
            value = params.parse_yaml(text)
        except YAMLError:
            raise ValueError(f"--what-if {change}: {text!r} is no YAML value") from None
        if key == "drop":
            if not isinstance(value, bool):
                raise ValueError(f"--what-if {change}: drop is true or false, not {text}")
            gone |= {_place(made, label)} if value else set()
        else:
            made[_place(made, label)][key] = value
    return [entry for place, entry in enumerate(made) if place not in gone]


def compare(recipe: rules.Recipe, config: SelectConfig, snapshots: list[str], data: Path) -> dict[str, Any]:
    """Returns what the recipe keeps beside what data/selection keeps, by snapshot, rule and group.

    Raises:
        FileNotFoundError: if there is no selection to compare with.
    """
    for name in config.decontaminate_against:
        if name not in params.names("sets"):
            raise ValueError(f"params.yaml: select.decontaminate_against: {name} is not listed under `sets`")
    sources = Sources(
        optouts=data / "optouts.parquet",
        scores=data / "scores.parquet",
        concepts=data / "concepts.txt",
        benchmarks=data / "benchmarks",
        test_embeddings=data / "test_embeddings",
        sets=tuple(config.decontaminate_against),
    )
    rules.check(recipe, sources)
    listed = [snapshot_of(data / "signals" / name, data / "embeddings" / name) for name in snapshots]
    tallies = _Tallies()
    for outcome in fold(listed, recipe, sources, workers=InMemory(), num_partitions=1):
        tallies.add(outcome, data / "selection" / outcome.snapshot.name, config.val_frac)
    return tallies.report()


class _Tallies:
    def __init__(self) -> None:
        self.snapshots: dict[str, dict[str, int]] = {}
        self.rules: dict[str, Counter[str]] = {"today": Counter(), "then": Counter()}
        self.groups: dict[str, dict[str, Counter[str]]] = {
            name: {"today": Counter(), "then": Counter()} for name in exclusion.DIMENSIONS
        }

    def add(self, outcome: Outcome, selection: Path, val_frac: float) -> None:
        """Counts one snapshot."""
        today = records.read_table(selection / "verdicts.parquet", records.VERDICTS, columns=["uid", "keep", "rule"])
        counts: Counter[str] = Counter()
        for rows, keep, rule, before in _beside(outcome, today, val_frac):
            counts.update(_overlap(before["keep"], keep))
            groups = exclusion.grouped(rows)
            for when, kept, by in (("today", before["keep"], before["rule"]), ("then", keep, rule)):
                self.rules[when].update(by.drop_null().to_pylist())
                for name, found in self.groups.items():
                    found[when].update(_counted(groups.filter(kept)[name]))
        names = ("rows", "kept_today", "kept_then", "both", "only_today", "only_then")
        self.snapshots[outcome.snapshot.name] = {name: counts[name] for name in names}

    def report(self) -> dict[str, Any]:
        """Returns the counts as plain data."""
        return {
            "snapshots": self.snapshots,
            "dropped_by": _beside_each_other(self.rules),
            "kept_by": {name: _beside_each_other(found) for name, found in self.groups.items()},
        }


def show(report: Mapping[str, Any], console: Console) -> None:
    """Prints the report as tables."""
    table = Table(
        "snapshot", "rows", "kept today", "kept then", "both", "only today", "only then", title="yield and overlap"
    )
    for name, found in report["snapshots"].items():
        table.add_row(name, *(f"{number:,}" for number in found.values()))
    console.print(table)
    _show_changes("dropped by rule", report["dropped_by"], console, len(report["dropped_by"]))
    for name, found in report["kept_by"].items():
        _show_changes(f"kept by {name.replace('_', ' ')}", found, console, _SHOWN)


def _show_changes(title: str, found: Mapping[str, Mapping[str, int]], console: Console, number: int) -> None:
    changed = [name for name in found if found[name]["today"] != found[name]["then"]]
    changed.sort(key=lambda name: (-abs(found[name]["then"] - found[name]["today"]), name))
    if not changed:
        console.print(f"{title}: no change")
        return
    table = Table("", "today", "then", "change", title=title)
    for name in changed[:number]:
        today, then = found[name]["today"], found[name]["then"]
        relative = f" ({(then - today) / today:+.1%})" if today else ""
        table.add_row(_plain(name), f"{today:,}", f"{then:,}", f"{then - today:+,}{relative}")
    console.print(table)
    if len(changed) > number:
        console.print(f"... and {len(changed) - number} more")


def _beside(outcome: Outcome, today: pa.Table, val_frac: float) -> Iterator[tuple[pa.Table, Any, Any, pa.Table]]:
    """Yields the rows of a snapshot with what becomes of them then, and today's verdicts on the same rows.

    Raises:
        ValueError: if today's selection lacks rows of the snapshot.
    """
    for some in worded(outcome, val_frac):
        place = pc.index_in(some.verdicts["uid"], value_set=today["uid"].combine_chunks())
        if place.null_count:
            raise ValueError(
                f"data/selection/{outcome.snapshot.name} lacks rows of the signals; run `dvc repro select`"
            )
        yield some.rows, some.verdicts["keep"], some.verdicts["rule"], today.take(place)


def _overlap(today: pa.ChunkedArray, then: pa.ChunkedArray) -> dict[str, int]:
    def number(mask: Any) -> int:
        return int(pc.sum(mask).as_py() or 0)

    return {
        "rows": len(today),
        "kept_today": number(today),
        "kept_then": number(then),
        "both": number(pc.and_(today, then)),
        "only_today": number(pc.and_not(today, then)),
        "only_then": number(pc.and_not(then, today)),
    }


def _counted(column: Any) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()}


def _beside_each_other(counts: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    names = sorted({*counts["today"], *counts["then"]})
    return {name: {"today": counts["today"][name], "then": counts["then"][name]} for name in names}


def _place(listed: Sequence[Mapping[str, Any]], label: str) -> int:
    labels = [entry.get("as", entry.get("rule")) for entry in listed]
    if label not in labels:
        raise ValueError(f"the recipe has no rule {label!r}; it has: {', '.join(map(str, labels))}")
    return labels.index(label)


def _plain(text: str) -> str:
    """Returns a group's name without control characters and without rich's markup: hosts come from URL lists."""
    return "".join(character if character.isprintable() else "?" for character in text).replace("[", "\\[")
