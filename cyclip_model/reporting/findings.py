"""What the differences between objectives amount to, in words: claims only that several seeds bear."""

from collections.abc import Mapping, Sequence
from typing import Any

from cyclip_model.reporting.differences import Difference
from cyclip_model.reporting.families import headline_keys, headline_label, is_share, part_words
from cyclip_model.reporting.resampled import Resampled
from cyclip_model.reporting.results import Key, Table

ONE_SEED = (
    "One seed: nothing is claimed of any objective. Two models of one seed may differ by that seed alone; list at "
    "least two seeds in params.yaml, better five."
)
_NAMED = 2
"""Metrics that a sentence names; the table has all."""


def shown(
    table: Table, found: Sequence[Difference], drawn: Mapping[tuple[Key, str], Resampled], confidence: float
) -> dict[str, Any]:
    """What the templates show of the differences, already spelled: a sentence an objective, and a table of all.

    Args:
        table: results of all models.
        found: every objective against the first, over seeds.
        drawn: the same on test rows drawn anew.
        confidence: of the intervals; one less it is the level of all claims together.
    """
    baseline, *others = table.objectives
    by_place = {(one.key, one.objective): one for one in found}
    tested = [one for one in found if one.p_holm is not None]
    sentences = [
        sentence(name, baseline, [one for one in tested if one.objective == name], confidence) for name in others
    ]
    rows = [
        {
            **{"set": key[0], "metric": headline_label(key), "part": part_words(key[2])},
            "cells": [_cell(by_place.get((key, other)), drawn.get((key, other)), confidence) for other in others],
        }
        for key in headline_keys(table)
    ]
    return {
        "findings": [ONE_SEED] if others and not tested else [each for each in sentences if each],
        "differences": rows if tested or drawn else [],
        "baseline": baseline,
        "others": others,
        "num_tests": len(tested),
        "has_drawn": bool(drawn),
        "level": f"{100 * (1 - confidence):.2g} %",
    }


def sentence(objective: str, baseline: str, tested: Sequence[Difference], confidence: float) -> str:
    """What was found of one objective, in one sentence; empty where nothing was tested."""
    if not tested:
        return ""
    who = f"{objective} against {baseline}, {len(tested)} headline metrics, {_seeds(tested)}"
    claimed = [one for one in tested if one.is_shown(confidence)]
    if not claimed:
        return f"{who}: no difference shown, which does not mean that there is none."
    gains, losses = ([one for one in claimed if (one.mean > 0) == better] for better in (True, False))
    said = [f"{word} in {_listed(ones)}" for word, ones in (("gain", gains), ("loss", losses)) if ones]
    rest = len(tested) - len(claimed)
    said += [f"no difference shown in {rest}"] if rest else []
    return f"{who}: {', '.join(said)}."


def _seeds(tested: Sequence[Difference]) -> str:
    fewest, most = min(one.num_seeds for one in tested), max(one.num_seeds for one in tested)
    return f"{most} seeds" if fewest == most else f"{fewest} to {most} seeds"


def _listed(ones: Sequence[Difference]) -> str:
    """How many, and the largest of them by name."""
    largest = sorted(ones, key=lambda one: -abs(one.mean))[:_NAMED]
    names = "; ".join(f"{headline_label(one.key)}, {part_words(one.key[2])}: {spelled(one)}" for one in largest)
    return f"{len(ones)} ({'the largest: ' if len(ones) > len(largest) else ''}{names})"


def spelled(one: Difference) -> str:
    """The difference and its interval: +2.3 [1.0, 3.6]; of shares in percentage points."""
    scale, digits = (100, 1) if is_share(one.key) else (1, 3)
    mean = f"{scale * one.mean:+.{digits}f}"
    if one.low is None or one.high is None:
        return mean
    return f"{mean} [{scale * one.low:.{digits}f}, {scale * one.high:.{digits}f}]"


def _cell(one: Difference | None, drawn: Resampled | None, confidence: float) -> dict[str, Any]:
    if one is None:
        return {"text": "–", "p": "", "rows": "", "is_shown": False}
    rows = "" if drawn is None else f"rows [{100 * drawn.low:.1f}, {100 * drawn.high:.1f}]"
    text, p = spelled(one), "" if one.p_holm is None else _p(one)
    return {"text": text, "p": p, "rows": rows, "is_shown": one.is_shown(confidence)}


def _p(one: Difference) -> str:
    """p after the correction; words where seeds give none."""
    if one.p is None or one.p_holm is None:
        return "no test"
    if one.p_holm < 0.001:
        return "p < 0.001"
    return f"p {one.p_holm:.3f}" if one.p_holm < 0.1 else f"p {one.p_holm:.2f}"
