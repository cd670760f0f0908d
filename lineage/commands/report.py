"""`lineage report`: a folder of static pages that answers in any browser, without a server."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from lineage.questions import holdings
from lineage.site import build, holding

_DEFAULT = Path("report-lineage")


def report(
    out: Annotated[Path, typer.Option(help="The folder to write; a report that is there is replaced.")] = _DEFAULT,
    rev: Annotated[str | None, typer.Option(help="Commit, branch or tag; the working tree if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a line.")] = False,
) -> None:
    """Builds static pages: the DAG, the models, the funnel, and a search for who saw a pair and why one was dropped."""
    built = build.build(holding.holding(holdings.project(), rev), out)
    if as_json:
        sys.stdout.write(json.dumps(built.as_json(), indent=1, ensure_ascii=False) + "\n")
        return
    sys.stdout.write(
        f"{built.out / 'index.html'}: {built.rows:,} pairs, {len(built.models)} models, {built.opted_out:,} opted out; "
        f"{built.files:,} files, {built.bytes / 1e6:.1f} MB, first page {built.first_page_bytes / 1e6:.2f} MB\n"
    )
