"""`lineage verify [PATH ...]`: does everything hold that a result rests on?"""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lineage import verify as verifying
from lineage.checks.findings import Finding, Report

_STYLES = {"unchecked": "yellow", "unattested": "magenta", "broken": "bold red"}
_WORDS = {"unchecked": "not checkable here", "unattested": "unattested", "broken": "broken"}
_MANY = 40
_PIPED_WIDTH = 200


def verify(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[PATH]...", help="Results; everything if none is given.")
    ] = None,
    rev: Annotated[str | None, typer.Option(help="Commit, branch or tag; the working tree if not given.")] = None,
    rebuild_shard: Annotated[
        str | None,
        typer.Option(metavar="SHARD", help="Also pack SNAPSHOT/SPLIT/NNNNN.tar, or `random`, anew from raw."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Which shard is random.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="What no run record attests, or is not here, fails too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Hashes all that results rest on anew and holds every record against the others.

    Exit status 1 if something is broken; with --strict also if something is unattested or not checkable here: in a
    checkout that should have everything. Without it, what was not pulled is told and counted, and no failure.
    """
    report = verifying.verify(paths or [], rev, shard=rebuild_shard, seed=seed)
    if as_json:
        sys.stdout.write(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n")
    else:
        show(report)
    failures = report.of("broken", "unattested", "unchecked") if strict else report.of("broken")
    if failures:
        first, more = failures[0], f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise ValueError(f"{_WORDS[first.state]}: {_plain(f'{first.what}: {first.problem}')}{more}")


def show(report: Report) -> None:
    """Prints what is not good as a table, worst first, and the counts."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPED_WIDTH)
    found = report.of("broken", "unattested", "unchecked")
    if found:
        console.print(table(found[:_MANY]))
    if len(found) > _MANY:
        console.print(Text(f"... and {len(found) - _MANY} more: --json lists all"), soft_wrap=True)
    console.print(Text(closing(report)), soft_wrap=True)


def table(found: list[Finding]) -> Table:
    """Returns findings as a table: state, what, its problem and what to do."""
    made = Table(show_lines=False, expand=False)
    for column in ("", "check", "where", "problem", "what to do"):
        made.add_column(column, overflow="fold")
    for finding in found:
        state = Text(_WORDS[finding.state], _STYLES[finding.state])
        cells = (finding.check, finding.what, finding.problem, finding.remedy)
        made.add_row(state, *(Text(_plain(cell)) for cell in cells))
    return made


def closing(report: Report) -> str:
    """Returns the line under the table: how many checks there were, how they ended, and what was packed anew."""
    counts = report.as_json()
    rebuilt = "".join(f"; packed anew: {path}" for path in counts["rebuilt"])
    return (
        f"{report.revision}: {counts['checked']} checked, {counts['not_checkable_here']} not checkable here, "
        f"{counts['unattested']} unattested, {counts['broken']} broken{rebuilt}"
    )


def _plain(text: str) -> str:
    """Returns text of others without line breaks and signs that steer a terminal."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
