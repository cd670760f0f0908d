"""`lineage why SUBJECT`: what became of a pair, step by step."""

from typing import Annotated, Any

import typer
from rich.console import Console

from lineage.commands import shown
from lineage.commands.who_saw import AsJson, Kind, Rev, Subject, hint, parsed
from lineage.questions import holdings, who_saw
from lineage.questions import why as question

_MOST_PAIRS = 5


def command(
    subject: Subject,
    kind: Kind = None,
    rev: Rev = None,
    snapshot: Annotated[str | None, typer.Option(help="Only of this snapshot.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Pairs to tell of.")] = _MOST_PAIRS,
    as_json: AsJson = False,
) -> None:
    """Tells the whole trail of a pair: list, download, signals, every rule, duplicates, shard, exposure of each model.

    Exit status 0: told, also that it is in no list; 1: it could not be told.
    """
    root = holdings.project()
    held = holdings.at(root, rev)
    if snapshot is not None and snapshot not in held.snapshots:
        raise ValueError(f"--snapshot {snapshot!r}: {held} has {', '.join(held.snapshots) or 'none'}")
    asked = parsed(subject, kind, root)
    reached = who_saw.reached(asked, held)
    places = [
        (name, int(row)) for name, found in reached.found.items() if snapshot in (None, name) for row in found.row_n
    ]
    trails = [question.why(held, name, row) for name, row in places[:limit]]
    left_out = len(places) - len(trails)
    if as_json:
        shown.as_json({"revision": str(held), "trails": trails, "left_out": left_out})
        return
    out = shown.console()
    if not trails:
        shown.line(out, (f"{held}: ", "bold"), "in no list" + (f" of {snapshot}" if snapshot else ""))
        hint(out, asked)
    for told in trails:
        _show(out, told)
    if left_out:
        shown.line(out, f"… {shown.number(left_out)} more pairs; --limit tells more")


def _show(out: Console, told: dict[str, Any]) -> None:
    verdict = "kept" if told["kept"] else f"{told['reason']}: {told['meaning']}"
    shown.line(out, (f"{told['snapshot']}/{told['uid']}  ", "bold"), shown.text(verdict))
    for step in told["steps"]:
        values = {name: value for name, value in step.items() if name not in ("step", "rules")}
        shown.line(out, f"  {step['step']:<11}", _line(step["step"], values) or ("nothing", "dim"))
        for rule in step.get("rules", ()):
            _show_rule(out, rule)


def _line(step: str, values: dict[str, Any]) -> str:
    if "not_here" in values:
        return f"not here: {shown.text(values['not_here'])}"
    if step == "exposure":
        return ", ".join(f"{model} {count}×" for model, count in values["times"].items())
    told = {name: value for name, value in values.items() if value not in (None, "", [], {})}
    return ", ".join(f"{name} {shown.text(value)}" for name, value in told.items())


def _show_rule(out: Console, rule: dict[str, Any]) -> None:
    bounds = {name: value for name, value in (rule["bounds"] or {}).items() if name != "rule"}
    against = ", ".join(f"{name} {shown.text(value)}" for name, value in bounds.items())
    value = "-" if rule["value"] is None else shown.text(rule["value"])
    style = {"dropped by it": "bold red", "passed": ""}.get(rule["outcome"], "dim")
    shown.line(out, (f"    {rule['outcome']:<14}{rule['rule']}: {value}  ({against})", style))
