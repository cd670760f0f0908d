"""`lineage impact OPT-OUTS`: what a takedown would touch and cost."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lineage import dag, records
from lineage.commands import shown
from lineage.commands.who_saw import AsJson, Rev
from lineage.questions import holdings
from lineage.questions import impact as question

_MOST_SHARDS = 10


def command(
    opt_outs: Annotated[
        list[str], typer.Argument(help="Files with a URL, host or hash a line, or such values; or pictures.")
    ],
    rev: Rev = None,
    apply: Annotated[bool, typer.Option("--apply", help="Then take it down: python -m flows takedown.")] = False,
    reference: Annotated[str, typer.Option(help="Of the takedown, for its record.")] = "",
    as_json: AsJson = False,
) -> None:
    """Tells what opt-outs would touch, changing nothing: pairs, shards, models, metrics, the stages that would rerun.

    Exit status 0: told; 1: it could not be told. With --apply, the status of the takedown.
    """
    root = holdings.project()
    if apply and rev is not None:
        raise ValueError("--apply: a takedown changes the checkout as it is; leave --rev out")
    held = holdings.at(root, rev)
    graph = dag.load(held.revision)
    entries = _entries(opt_outs, root)
    told = question.impact(held, entries, graph, question.costs(held, graph))
    if as_json:
        shown.as_json({"revision": str(held), **told})
    else:
        _show(shown.console(), told)
    if apply:
        raise typer.Exit(_take_down(root, entries, reference))


def _take_down(root: Path, entries: list[question.OptOut], reference: str) -> int:
    """Runs the takedown of what was told, as hashes, and returns its exit status."""
    rows = [{"kind": kind, "value": value} for kind, value in entries]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "optouts.parquet"
        records.write_table(records.rows_table(rows, records.OPTOUTS), table)
        words = ["--reference", reference] if reference else []
        command = [sys.executable, "-m", "flows", "takedown", *words, "--", str(table)]
        return subprocess.run(command, cwd=root, check=False).returncode


def _entries(opt_outs: list[str], root: Path) -> list[question.OptOut]:
    """Returns opt-outs as the pipeline reads them, which lineage does not import."""
    paths = [str(Path(entry).resolve()) if Path(entry).is_file() else entry for entry in opt_outs]
    command = [sys.executable, "-m", "pipelines.describe", "--opt-outs", "--", *paths]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip().rpartition("\n")[2].removeprefix("error: "))
    entries = [(kind, value) for kind, value in json.loads(done.stdout)]
    if not entries:
        raise ValueError(f"{', '.join(opt_outs)}: names nothing")
    return entries


def _show(out: Console, told: dict[str, Any]) -> None:
    shown.line(out, (f"{shown.counted(told['opt_outs'], 'hash', 'hashes')} opted out: ", "bold"), _pairs(told))
    for snapshot, found in told["snapshots"].items():
        shown.line(out, f"  {snapshot}: {_pairs(found)}")
    if told["copies"]:
        shown.line(out, f"  {shown.number(told['copies'])} kept pairs have the same bytes and are not named")
    for name, parts in told["sets"].items():
        listed = ", ".join(f"{part} {shown.number(number)}" for part, number in parts.items())
        shown.line(
            out, f"  evaluation set {shown.text(name)} loses {shown.counted(sum(parts.values()), 'row')}: {listed}"
        )
    for name in told["sets_not_here"]:
        where = f"data/benchmarks/{name}"
        shown.line(out, f"  evaluation set {shown.text(name)}: not checkable here: `dvc pull {shown.text(where)}`")
    for shard in told["shards"][:_MOST_SHARDS]:
        shown.line(out, f"  shard {shown.text(shard)}")
    if len(told["shards"]) > _MOST_SHARDS:
        shown.line(out, f"  … {shown.number(len(told['shards']) - _MOST_SHARDS)} more shards")
    for model in told["models"]:
        seen = f"{shown.number(model['times'])} times, {model['of_all']:.3%} of its training"
        shown.line(out, "  ", (model["model"], "bold"), f" saw {shown.counted(model['pairs'], 'pair')}, {seen}")
    for path in told["metrics"]:
        shown.line(out, f"  metrics {shown.text(path)}")
    open_ = sum(not stage["is_certain"] for stage in told["stages"])
    head = f"{shown.counted(len(told['stages']), 'stage')} would rerun, about {told['seconds']:.0f} s"
    shown.line(out, head, f", {open_} of them (?) if the choice of pairs changes more:" if open_ else ":")
    shown.line(out, "  ", ", ".join(_stage(stage) for stage in told["stages"]) or "none")


def _pairs(told: dict[str, Any]) -> str:
    return f"{shown.counted(told['pairs'], 'pair')}, {shown.number(told['kept'])} kept"


def _stage(stage: dict[str, Any]) -> str:
    cost = "?" if stage["seconds"] is None else f"{stage['seconds']:.0f} s"
    return f"{stage['stage']}{'' if stage['is_certain'] else '?'} ({cost})"
