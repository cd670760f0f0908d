"""`lineage export FORMAT`: the lineage of a revision in the form of other tools."""

import dataclasses
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from lineage import dag, files, trace

_NAMES = {"openlineage": "openlineage.ndjson", "croissant": "croissant.json", "bom": "bom.cdx.json"}


class Format(StrEnum):
    """What can be exported."""

    OPENLINEAGE = "openlineage"
    CROISSANT = "croissant"
    BOM = "bom"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What one export made: its text, how many of what is in it, and what was left out with the reason."""

    text: str
    counts: dict[str, int]
    left_out: dict[str, list[str]]


def export(
    what: Annotated[Format, typer.Argument(metavar="FORMAT", help="openlineage, croissant or bom (CycloneDX).")],
    rev: Annotated[str | None, typer.Option(help="Commit, branch or tag; the working tree if not given.")] = None,
    out: Annotated[str | None, typer.Option(help="File, or folder; standard output if not given.")] = None,
    url: Annotated[str | None, typer.Option(help="Posts OpenLineage events there; see OPENLINEAGE_API_KEY.")] = None,
    namespace: Annotated[str, typer.Option(help="Of OpenLineage's jobs and data sets.")] = "clipline",
    as_json: Annotated[bool, typer.Option("--json", help="Say as JSON what was exported.")] = False,
) -> None:
    """Exports OpenLineage events, a Croissant card with PROV or a bill of materials; two exports are equal bytes.

    Exit status 1 if it cannot be made, or the server does not take an event. What is left out is a warning.
    """
    if url is not None and (what != Format.OPENLINEAGE or out is not None):
        raise ValueError("--url: only OpenLineage events are posted, and either to --url or to --out")
    root, target = trace.project(Path.cwd()), _target(what, out)
    if target is not None:
        _check_target(target, root, rev)
    try:
        exported = _MAKERS[what](root, rev, target, url, namespace)
        if target is not None and what != Format.OPENLINEAGE:
            files.write_text(target, exported.text)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{target or 'export'}: cannot be written: {' '.join(str(error).split())}") from None
    if target is None and url is None:
        sys.stdout.write(exported.text)
    _say(what, rev, exported, target, is_posted=url is not None, as_json=as_json)


def summary(what: str, rev: str | None, exported: Exported, target: Path | None) -> dict[str, Any]:
    """Returns what `--json` says: {format, revision, out, bytes, counts: {what: number}, left_out: {reason: [name]}}.

    `revision` is null for the working tree, `out` where the export was posted or printed.
    """
    return {
        "format": what,
        "revision": rev,
        "out": str(target) if target else None,
        "bytes": len(exported.text.encode()),
        "counts": exported.counts,
        "left_out": exported.left_out,
    }


def _openlineage(root: Path, rev: str | None, target: Path | None, url: str | None, namespace: str) -> Exported:
    from lineage.exports import attested, emission, openlineage

    state = attested.load(root, rev)
    events = openlineage.events(state, namespace)
    if url is not None:
        emission.post(events, url)
    elif target is not None:
        emission.write(events, target)
    left_out = {"no run record made what dvc.lock holds": state.unattested()}
    counts = {"events": len(events), "runs": len(events) // 2}
    return Exported(text=emission.lines(events), counts=counts, left_out=left_out)


def _croissant(root: Path, rev: str | None, *_: Any) -> Exported:
    from lineage.exports import attested, croissant

    state = attested.load(root, rev)
    card, counts, untold = croissant.card(state)
    return Exported(
        text=_pretty(card), counts=counts, left_out={"times and code of stages without a run record": untold}
    )


def _bom(root: Path, rev: str | None, *_: Any) -> Exported:
    from lineage.exports import attested, bom

    state = attested.load(root, rev)
    made, left_out = bom.bom(state)
    kinds = [component["type"] for component in made["components"]]
    return Exported(
        text=_pretty(made), counts={kind: kinds.count(kind) for kind in sorted(set(kinds))}, left_out=left_out
    )


_MAKERS = {Format.OPENLINEAGE: _openlineage, Format.CROISSANT: _croissant, Format.BOM: _bom}


def _pretty(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _target(what: str, out: str | None) -> Path | None:
    """Returns the file to write: `out`, or in it, where it is a folder, a file of the format's usual name."""
    if out is None:
        return None
    return Path(out) / _NAMES[what] if out.endswith(os.sep) or Path(out).is_dir() else Path(out)


def _check_target(target: Path, root: Path, rev: str | None) -> None:
    """Raises ValueError if a file lies in what DVC keeps: there it would be one too many."""
    graph = dag.load(dag.revision(root, rev))
    for path in (*graph.outs(), *graph.roots):
        if target.absolute().is_relative_to((root / path).absolute()):
            raise ValueError(f"{target}: lies in {path}, which DVC keeps; name another place with --out")


def _say(
    what: str, rev: str | None, exported: Exported, target: Path | None, *, is_posted: bool, as_json: bool
) -> None:
    stream = sys.stdout if target or is_posted else sys.stderr
    if as_json:
        stream.write(json.dumps(summary(what, rev, exported, target), indent=1, ensure_ascii=False) + "\n")
        return
    for reason, names in exported.left_out.items():
        if names:
            sys.stderr.write(f"warning: {len(names)} left out: {reason}: {', '.join(names)}\n")
    counts = ", ".join(f"{number} {name}" for name, number in exported.counts.items())
    size = len(exported.text.encode())
    stream.write(f"{what}: {counts}, {size} bytes{f' in {target}' if target else ' posted' if is_posted else ''}\n")
