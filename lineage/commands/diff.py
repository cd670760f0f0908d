"""`lineage diff OLD [NEW]`: what two revisions have not in common, pair by pair."""

from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table

from lineage import records
from lineage.commands import shown
from lineage.commands.who_saw import AsJson
from lineage.questions import diff as question
from lineage.questions import holdings

_MOST_METRICS = 40
_HEADLINES = ("top_1.value", "recall_1.value", "val_loss")


def command(
    old: Annotated[str, typer.Argument(help="A commit, branch or tag.")],
    new: Annotated[str | None, typer.Argument(help="Another; the working tree if not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write every change to this parquet file.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Pairs to list of each kind of change.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Tells which pairs came in, went out, were dropped for another reason or have other bytes, and the metrics.

    Exit status 0: told, also that nothing differs; 1: it could not be told.
    """
    root = holdings.project()
    sides = holdings.at(root, old), holdings.at(root, new)
    changes = pa.concat_tables([question.CHANGES.empty_table(), *question.diff(*sides)])
    if out is not None:
        records.write_table(changes, out)
    told = {"old": str(sides[0]), "new": str(sides[1]), **question.account(changes)}
    told["pairs"] = {kind: _first(changes, kind, limit) for kind in told["changes"]}
    try:
        told["metrics"] = [row for row in question.metrics(*sides) if row["old"] != row["new"]]
        told["metrics_not_here"] = None
    except holdings.NotHereError as error:
        told["metrics"], told["metrics_not_here"] = [], str(error)
    if as_json:
        shown.as_json(told)
    else:
        _show(shown.console(), told)


def _first(changes: pa.Table, kind: str, limit: int) -> list[dict[str, Any]]:
    mine: list[dict[str, Any]] = changes.filter(pa.compute.equal(changes["change"], kind)).slice(0, limit).to_pylist()
    return mine


def _show(out: Console, told: dict[str, Any]) -> None:
    shown.line(out, (f"{told['old']} → {told['new']}: ", "bold"), shown.reasons(told["changes"], 9) or "the same pairs")
    for kind, grounds in told["by_rule"].items():
        shown.line(out, (f"  {kind}: ", "bold"), shown.reasons(grounds, 9))
        for row in told["pairs"][kind]:
            shown.line(out, f"    {row['snapshot']}/{row['uid']}: {_side(row, 'old')} → {_side(row, 'new')}")
    if told["metrics_not_here"]:
        shown.line(out, f"metrics are not checkable here: {shown.text(told['metrics_not_here'])}")
        return
    if not told["metrics"]:
        shown.line(out, "every metric is the same")
        return
    table = Table("model", "metric", "old", "new", "change", title="metrics that differ", title_justify="left")
    rows = sorted(told["metrics"], key=lambda row: (not row["metric"].endswith(_HEADLINES), row["model"]))
    for row in rows[:_MOST_METRICS]:
        both = row["old"] is not None and row["new"] is not None
        change = f"{row['new'] - row['old']:+.4g}" if both else ""
        table.add_row(row["model"], shown.text(row["metric"]), _number(row["old"]), _number(row["new"]), change)
    out.print(table)
    if len(rows) > _MOST_METRICS:
        shown.line(out, f"… {shown.number(len(rows) - _MOST_METRICS)} more; --json has all")


def _side(row: dict[str, Any], side: str) -> str:
    rule = f" by {row[f'{side}_rule']}" if row[f"{side}_rule"] else ""
    data = f" {row[f'{side}_sha256'][:12]}" if row[f"{side}_sha256"] else ""
    return shown.text(f"{row[f'{side}_reason'] or 'in no list'}{rule}{data}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
