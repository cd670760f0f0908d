"""Accuracy under shift beside accuracy at home, and what the line through all models leaves over.

Effective robustness (Taori et al., arXiv 2007.00644) is accuracy on shifted rows beyond what a line through many
models, both accuracies being logits, predicts from their accuracy at home. Only several models give a line, so it is
worked out here and not by the evaluation of one of them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from cyclip_model.metrics.shift import effective_robustness, fit
from cyclip_model.reporting.results import Cell, Key, Table

PROTOCOL, HOME, AWAY, ROBUSTNESS = "shift", "parent_top_1", "top_1", "effective_robustness"
SUITE = (
    ("naming", "names", "seen", ("twemoji", "lineart")),
    ("subcategory", "members", "novel", ("novel_twemoji", "novel_lineart")),
)
"""(protocol, variant, part at home, parts away) of the emoji suite, whose shifts are parts and not sets."""
MIN_MODELS = 3
"""A line through two models leaves nothing over."""


class Shift(NamedTuple):
    """One shifted set under all models."""

    key: tuple[str, str, str, str]
    """(set, protocol, part, variant) that its numbers are filed under."""
    home: Mapping[str, Cell]
    away: Mapping[str, Cell]


def shifts(table: Table) -> list[Shift]:
    """Every shifted set of the table that has accuracies at home and away."""
    found = [
        Shift(key[:4], cells, table.cells[*key[:4], AWAY])
        for key, cells in table.cells.items()
        if key[1] == PROTOCOL and key[4] == HOME and (*key[:4], AWAY) in table.cells
    ]
    return sorted(found, key=lambda one: one.key)


def add(table: Table) -> None:
    """Files the suite's shifts under protocol shift, and of every shift each model's effective robustness."""
    for name in sorted({key[0] for key in table.cells}):
        for protocol, variant, home, aways in SUITE:
            for away in aways:
                pair = [table.cells.get((name, protocol, part, variant, "top_1"), {}) for part in (home, away)]
                if all(pair):
                    place = (name, PROTOCOL, away, f"{protocol}_from_{home}")
                    table.cells[*place, HOME], table.cells[*place, AWAY] = pair
    for one in shifts(table):
        table.cells.update(dict(_robust(one)))


def line(one: Shift) -> tuple[float, float] | None:
    """(slope, intercept) of logits through all models that have some; None where there are too few, or all alike."""
    pairs = [(x, y) for _, _, x, y in points(one) if 0 < x < 1 and 0 < y < 1]
    if len(pairs) < MIN_MODELS or len({x for x, _ in pairs}) < 2:
        return None
    base_M, shifted_M = np.array(pairs).T
    return fit(base_M, shifted_M)


def points(one: Shift) -> Iterator[tuple[str, int, float, float]]:
    """(objective, seed, accuracy at home, accuracy away) of every model that has both."""
    for objective, cell in one.home.items():
        others: Mapping[int, float] = one.away[objective].by_seed if objective in one.away else {}
        for seed, value in cell.by_seed.items():
            if seed in others:
                yield objective, seed, value, others[seed]


def _robust(one: Shift) -> Iterator[tuple[Key, dict[str, Cell]]]:
    through = line(one)
    if through is None:
        return
    by_objective: dict[str, dict[int, Any]] = {}
    for objective, seed, base, shifted in points(one):
        if 0 < base < 1:
            by_objective.setdefault(objective, {})[seed] = effective_robustness(base, shifted, *through)
    yield (
        (*one.key, ROBUSTNESS),
        {
            objective: Cell(by_seed=values, chances=[], majority=None, n=None)
            for objective, values in by_objective.items()
        },
    )
