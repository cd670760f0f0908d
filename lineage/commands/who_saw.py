"""`lineage who-saw SUBJECT`: which data sets, models and metrics a picture reached."""

from typing import Annotated, Any, cast
from urllib.parse import urlsplit

import typer
from rich.console import Console

from lineage.commands import shown
from lineage.questions import holdings, subjects, who_saw
from lineage.questions.holdings import NotHereError

Subject = Annotated[str, typer.Argument(help="A URL, a domain, a sha256, a uid, or a picture file.")]
Kind = Annotated[str | None, typer.Option(help=f"What it is, if its form does not say: {', '.join(subjects.KINDS)}.")]
Rev = Annotated[str | None, typer.Option(help="A commit, branch or tag; the working tree if not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def command(
    subject: Subject,
    kind: Kind = None,
    rev: Rev = None,
    history: Annotated[
        bool | None, typer.Option(help="Ask every revision of dvc.lock, too; the default where no --rev is given.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Pairs to list of each revision.")] = who_saw.MOST_ROWS,
    as_json: AsJson = False,
) -> None:
    """Tells which data sets, models and metrics a picture reached, and how often each model was trained on it.

    A domain stands for all below it. A picture file is looked for by its bytes, then by its look. Exit status 0: told,
    also that nobody saw it; 1: it could not be told.
    """
    root = holdings.project()
    asked = parsed(subject, kind, root)
    here = holdings.at(root, rev)
    is_wide = history if history is not None else rev is None
    others = holdings.history(root) if is_wide else ()
    if asked.kind == "domain" and not as_json:
        _show_counts(asked, here)
    answers: list[dict[str, Any]] = []
    missing: dict[str, list[str]] = {}
    for held, told in who_saw.everywhere(asked, here, others, most=limit):
        if isinstance(told, NotHereError):
            if held is here:
                raise told
            missing.setdefault(who_saw.NO_TRAIL if isinstance(told, who_saw.NoTrailError) else str(told), []).append(
                str(held)
            )
            continue
        same = next(
            (answer for answer in answers if {**answer, "revisions": None} == {**told, "revisions": None}), None
        )
        if same:
            same["revisions"].append(str(held))
        else:
            answers.append({"revisions": [str(held)], **told})
    if as_json:
        asked_for = {"kind": asked.kind, "text": asked.text, "digest": asked.digest}
        shown.as_json({"subject": asked_for, "answers": answers, "not_checkable_here": missing})
    else:
        _show_all(shown.console(), answers, missing)
        if not any(told["rows"] for told in answers):
            hint(shown.console(), asked)


def parsed(subject: str, kind: str | None, root: Any) -> subjects.Subject:
    """Returns what a user asks for.

    Raises:
        ValueError: if it is nothing that can be asked for.
    """
    if kind is not None and kind not in subjects.KINDS:
        raise ValueError(f"--kind {kind!r}: not one of {', '.join(subjects.KINDS)}")
    return subjects.parse(subject, cast(subjects.Kind | None, kind), root)


def _show(out: Console, told: dict[str, Any]) -> None:
    held = ", ".join(told["revisions"])
    sets = [f"{name} ({_parts(parts)})" for name, parts in told["sets"].items()]
    if not told["rows"]:
        shown.line(
            out, (f"{held}: ", "bold"), "in no list", f", but in evaluation set {', '.join(sets)}" if sets else ""
        )
        return
    near = "; nobody has these bytes, these look like it" if "phash" in told["by"] else ""
    shown.line(out, (f"{held}: ", "bold"), f"{shown.counted(told['rows'], 'pair')}{near}")
    counts = ({"kept": told["kept"]} if told["kept"] else {}) | told["dropped"]
    shown.line(out, "  ", shown.reasons(counts))
    if told["data_set"]:
        shown.line(out, f"  in data set {_digest(told['data_set']['digest'] or told['data_set']['root'])}")
    if sets:
        shown.line(out, f"  in evaluation set {', '.join(sets)}")
    for model in told["models"]:
        _show_model(out, model)
    if not told["models"]:
        shown.line(out, "  no model was trained on it")
    for pair in told["pairs"]:
        _show_pair(out, pair)
    if told["left_out"]:
        shown.line(out, f"  … {shown.number(told['left_out'])} more pairs; --limit lists more")


def _parts(parts: dict[str, int]) -> str:
    return ", ".join(f"{shown.text(part)} {shown.counted(number, 'row')}" for part, number in parts.items())


def _show_model(out: Console, model: dict[str, Any]) -> None:
    share = f" ({model['of_all']:.3%} of its training)" if model["of_all"] is not None else ""
    times = f"{shown.counted(model['times'], 'time')}, {shown.counted(model['pairs'], 'pair')}{share}"
    metrics = f"; {model['metrics']['path']} {_digest(model['metrics']['digest'])}" if model["metrics"] else ""
    shown.line(
        out, "  ", (model["model"], "bold"), f": trained on it {times}; weights {_digest(model['weights'])}{metrics}"
    )


def _show_pair(out: Console, pair: dict[str, Any]) -> None:
    where = f"{pair['shard']} {pair['key']} at {pair['offset']}" if pair["shard"] else shown.text(pair["reason"])
    of = f" of {pair['duplicate_of_snapshot']}/{pair['duplicate_of']}" if pair["duplicate_of"] else ""
    look = f", {pair['distance']} of 64 bits away" if "distance" in pair else ""
    seen = ", ".join(f"{model} {count}×" for model, count in pair["times"].items())
    shown.line(out, f"    {pair['snapshot']}/{pair['uid']}: {where}{of}{look}", f"; {seen}" if seen else "")


def _show_counts(asked: subjects.Subject, here: holdings.Holdings) -> None:
    """Prints how many rows a domain has, which is known before any of them is read."""
    who_saw.check(here)
    counts = who_saw.count(asked, here)
    told = ", ".join(f"{number:,} in {snapshot}" for snapshot, number in counts.items()) or "no rows"
    out = shown.console()
    shown.line(out, (f"{asked.text} and below: ", "bold"), told)
    out.file.flush()


def _digest(value: str | None) -> str:
    return value[:12] if value else "not known here"


def hint(out: Console, asked: subjects.Subject) -> None:
    """Prints how a subject that is in no list was looked for, where another spelling may be in one."""
    if asked.kind == "url":
        host = str(urlsplit(asked.text).hostname)
        shown.line(out, f"  a URL is matched whole and exactly, but for the case of its host; try the domain: {host}")
    if asked.kind == "picture" and asked.look is None:
        shown.line(out, "  the pipeline cannot decode this file: it was looked for by its bytes alone")


def _show_all(out: Console, answers: list[dict[str, Any]], missing: dict[str, list[str]]) -> None:
    for told in answers:
        _show(out, told)
    for why, revisions in missing.items():
        shown.line(out, (f"not checkable here: {', '.join(revisions)}: {shown.text(why)}", "dim"))
