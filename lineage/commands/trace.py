"""`lineage trace PATH`: where an output comes from, every edge checked."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from lineage import trace as tracing

_WIDTH = 500
_STYLES = {"good": "green", "unchecked": "yellow", "broken": "bold red"}
_MARKS = {"good": "✓", "unchecked": "?", "broken": "✗"}
_PLAIN_MARKS = {"good": "ok", "unchecked": "?", "broken": "BROKEN"}


def trace(
    path: Annotated[str, typer.Argument(help="An output or a file inside one, from the current folder.")],
    rev: Annotated[str | None, typer.Option(help="Commit, branch or tag; the working tree if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a tree.")] = False,
) -> None:
    """Walks an output down to its URL lists and checks every edge; exit status 1 if one is broken."""
    found = tracing.trace(path, rev)
    if as_json:
        sys.stdout.write(json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n")
    else:
        console = Console(highlight=False, width=_WIDTH)  # rich would cut the lines of a deep tree
        console.print(render(found, ascii_only=console.options.ascii_only), soft_wrap=True)
        console.print(Text(closing(found)), soft_wrap=True)
    broken = [edge for edge in found.edges() if edge.state == "broken"]
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        first = broken[0]
        raise ValueError(f"broken edge: {first.stage or path}: {first.kind} {first.path}: {first.note}{more}")


def render(found: tracing.Trace, ascii_only: bool = False) -> Tree:
    """Returns the trace as a tree; a stage that stands in it already is only named again."""
    marks = _PLAIN_MARKS if ascii_only else _MARKS
    tree = Tree(_label(found.start, marks))
    _grow(tree, found.start, found, marks, set())
    return tree


def closing(found: tracing.Trace) -> str:
    """Returns the line under the tree: how many edges were checked and the URL lists where the walk ends."""
    counts = (
        f"{found.count('good', 'broken')} edges checked, {found.count('unchecked')} not checkable here, "
        f"{found.count('broken')} broken"
    )
    lists = found.url_lists()
    others = sorted(set(found.roots) - {root.path for root in lists})
    ends = "; ends at URL lists: " + (", ".join(f"{root.path} {_short(root.digest)}" for root in lists) or "none")
    return counts + ends + (f"; other roots: {', '.join(others)}" if others else "")


def _grow(branch: Tree, edge: tracing.Edge, found: tracing.Trace, marks: dict[str, str], shown: set[str]) -> None:
    for maker in edge.makers:
        twig = branch.add(_maker_label(maker, found, again=maker in shown))
        if maker in shown:
            continue
        shown.add(maker)
        for below in found.stages.get(maker, ()):
            if below.kind != "recipe" or below.state != "good":
                _grow(twig.add(_label(below, marks)), below, found, marks, shown)


def _label(edge: tracing.Edge, marks: dict[str, str]) -> Text:
    head = {"code": "code: ", "params": "params: ", "recipe": "recipe: "}.get(edge.kind, "")
    digest = f" {_short(edge.digest)}" if edge.kind in ("asked", "data", "file") and edge.digest else ""
    label = Text.assemble((f"{marks[edge.state]} ", _STYLES[edge.state]), head + edge.path, (digest, "dim"))
    return label.append(f"  {edge.note}", _STYLES[edge.state]) if edge.note else label


def _maker_label(maker: str, found: tracing.Trace, again: bool) -> Text:
    origins = [root.origin for root in found.roots.values() if root.file == maker and root.origin]
    label = Text(f"{maker} (shown above)" if again else maker, "dim" if again else "bold")
    return label.append(f" from {origins[0]}", "dim") if origins else label


def _short(digest: str) -> str:
    return digest[:12]
