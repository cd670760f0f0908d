"""What the differences between objectives amount to, in words: claims only that several seeds bear."""

from collections.abc import Sequence
from typing import Any

from cyclip_model.reporting.differences import Difference
from cyclip_model.reporting.report import PARTS, headline_keys, headline_label, is_share
from cyclip_model.reporting.results import Key, Table

ONE_SEED = (
    "One seed: nothing is claimed of any objective. Two models of one seed may differ by that seed alone; list at "
    "least two seeds in params.yaml, better five."
)
_NAMED = 2
"""Metrics that a sentence names; the table has all."""


def shown(table: Table, found: Sequence[Difference], confidence: float) -> dict[str, Any]:
    """What the templates show of the differences, already spelled: a sentence an objective, and a table a set.

    Args:
        table: results of all models.
        found: every objective against the first.
        confidence: of the intervals; one less it is the level of all claims together.
    """
    keys = headline_keys(table)
    baseline, *others = table.objectives
    by_place = {(one.key, one.objective): one for one in found}
    tested = [one for one in found if one.p_holm is not None]
    sentences = [
        sentence(name, baseline, [one for one in tested if one.objective == name], confidence) for name in others
    ]
    rows = {
        name: [
            _row(key, [by_place.get((key, other)) for other in others], confidence) for key in keys if key[0] == name
        ]
        for name in dict.fromkeys(key[0] for key in keys)
    }
    return {
        "findings": [ONE_SEED] if others and not tested else [each for each in sentences if each],
        "differences": rows if tested else {},
        "baseline": baseline,
        "others": others,
        "num_tests": len(tested),
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
    names = "; ".join(f"{headline_label(one.key)}, {PARTS[one.key[2]]}: {spelled(one)}" for one in largest)
    return f"{len(ones)} ({'the largest: ' if len(ones) > len(largest) else ''}{names})"


def spelled(one: Difference) -> str:
    """The difference and its interval: +2.3 [1.0, 3.6]; of shares in percentage points."""
    scale, digits = (100, 1) if is_share(one.key) else (1, 3)
    mean = f"{scale * one.mean:+.{digits}f}"
    if one.low is None or one.high is None:
        return mean
    return f"{mean} [{scale * one.low:.{digits}f}, {scale * one.high:.{digits}f}]"


def _row(key: Key, ones: Sequence[Difference | None], confidence: float) -> dict[str, Any]:
    cells = [
        {"text": spelled(one), "p": _p(one), "is_shown": one.is_shown(confidence)}
        if one
        else {"text": "–", "p": "", "is_shown": False}
        for one in ones
    ]
    return {"metric": headline_label(key), "part": PARTS[key[2]], "cells": cells}


def _p(one: Difference) -> str:
    """p after the correction; words where seeds give none."""
    if one.p is None or one.p_holm is None:
        return "no test"
    if one.p_holm < 0.001:
        return "p < 0.001"
    return f"p {one.p_holm:.3f}" if one.p_holm < 0.1 else f"p {one.p_holm:.2f}"
