"""All plots of the report, with what stands below each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cyclip_model.reporting import curves, style
from cyclip_model.reporting.differences import Difference
from cyclip_model.reporting.families import headline_keys, headline_label, is_share, part_words
from cyclip_model.reporting.resampled import Resampled
from cyclip_model.reporting.results import Cell, Key, Table
from cyclip_model.reporting.style import INK, Plot, colour, svg

MAX_ROWS = 24
"""Of the plots that have a row a metric; the tables have all."""
_OTHERS = (
    ("shift", curves.shift, "The same question asked of drawings further and further from the training artists."),
    (
        "robustness",
        curves.robust,
        "Accuracy under shift against accuracy at home, both axes logits. Above the line through all models is "
        "effective robustness; above the dots nothing was lost.",
    ),
    (
        "consistency",
        lambda table: curves.by_k(table, "consistency", "k_"),
        "Consistency by the number k of training pictures that vote.",
    ),
    (
        "retrieval",
        lambda table: curves.by_k(table, "retrieval", "recall_"),
        "Recall among the first k, pictures and captions asking.",
    ),
    (
        "plane",
        curves.plane,
        "Alignment and uniformity. By squared distance of pairs, and by cosine to the label’s name, as papers define "
        "them: the better corner is named on the axes.",
    ),
    (
        "history",
        curves.history,
        "Training, epoch by epoch, a line a seed. Losses of different objectives measure different things: each has an "
        "axis of its own.",
    ),
)


def draw(
    table: Table, found: Sequence[Difference], rows: Mapping[tuple[Key, str], Resampled], confidence: float
) -> dict[str, Plot]:
    """Name -> every plot that the table has the data of.

    Args:
        table: results of all models.
        found: every objective against the first, over seeds; drawn where several seeds give intervals.
        rows: the same on rows drawn anew; drawn where seeds give none.
        confidence: of the intervals.
    """
    with mpl.rc_context(style.STYLE):
        keys = [key for key in headline_keys(table) if is_share(key)][:MAX_ROWS]
        plots = {}
        if keys:
            text = "Headline metrics; marks show chance (line) and the most frequent class (dots)."
            plots["headline"] = Plot(svg(headline(table, keys)), text)
        intervals, whose, claim = _intervals(found, rows, confidence)
        if intervals:
            text = f"Differences from {table.objectives[0]} with the {100 * confidence:g} % interval that {whose} leave"
            figure = differences(table, keys, intervals)
            plots["differences"] = Plot(svg(figure), f"{text}; filled where {claim}.")
        for name, drawn, text in _OTHERS:
            other = drawn(table)
            if other is not None:
                plots[name] = Plot(svg(other), text)
        return plots


def headline(table: Table, keys: Sequence[Key]) -> Figure:
    """Bars of the headline metrics, chance and majority levels as marks on them."""
    height = 0.8 / len(table.objectives)
    figure, axes = _rows(table, keys)
    for row, key in enumerate(keys):
        for number, objective in enumerate(table.objectives):
            place = row + (number - (len(table.objectives) - 1) / 2) * height
            _bar(axes, table.cells[key].get(objective), (place, 0.9 * height), colour(number))
        _levels(axes, next(iter(table.cells[key].values())), row)
    axes.set_ylim(len(keys) - 0.4, -0.6)
    axes.set_xlabel("%")
    style.legend(figure, table.objectives, ("chance", "-"), ("majority class", ":"))
    return figure


def _rows(table: Table, keys: Sequence[Key]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(style.WIDTH_IN, 1.1 + 0.5 * len(keys)), layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(keys)), [_label(table, key) for key in keys])
    return figure, axes


def _label(table: Table, key: Key) -> str:
    """A metric, and below it where it was measured: the part alone where all are of one set."""
    several = len({other[0] for other in headline_keys(table)}) > 1
    return f"{headline_label(key)}\n{f'{key[0]}, ' if several else ''}{part_words(key[2])}"


def _bar(axes: Axes, cell: Cell | None, where: tuple[float, float], face: str) -> None:
    if cell is None:
        return
    axes.barh(where[0], 100 * cell.mean, where[1], color=face)
    if cell.spread is not None:
        axes.errorbar(100 * cell.mean, where[0], xerr=100 * cell.spread, color=INK, capsize=2, linewidth=0.8)


def _levels(axes: Axes, cell: Cell, row: int) -> None:
    for level, shape in ((cell.chance, "-"), (cell.majority, ":")):
        if level is not None:
            axes.plot([100 * level] * 2, [row - 0.45, row + 0.45], color=INK, linestyle=shape, linewidth=1.6)


_Interval = tuple[float, float | None, float | None, bool]
"""Difference, its ends, and whether it is claimed."""


def _intervals(
    found: Sequence[Difference], rows: Mapping[tuple[Key, str], Resampled], confidence: float
) -> tuple[dict[tuple[Key, str], _Interval], str, str]:
    """What is drawn, what the intervals are of, and when a mark is filled: of seeds where there are several."""
    by_seeds = {
        (one.key, one.objective): (one.mean, one.low, one.high, one.is_shown(confidence))
        for one in found
        if one.p_holm is not None
    }
    if by_seeds:
        return by_seeds, "seeds", "one remains after the correction"
    by_rows = {place: (one.difference, one.low, one.high, one.is_apart) for place, one in rows.items()}
    return dict(by_rows), "rows", "it is all on one side of 0"


def differences(table: Table, keys: Sequence[Key], found: Mapping[tuple[Key, str], _Interval]) -> Figure:
    """Every objective less the first, in points, with an interval; filled where it is claimed."""
    others = table.objectives[1:]
    keys = [key for key in keys if any((key, other) in found for other in others)]
    gap = 0.7 / max(len(others), 1)
    figure, axes = _rows(table, keys)
    axes.axvline(0, color=INK, linewidth=1.2)
    for row, key in enumerate(keys):
        for number, objective in enumerate(others):
            place = row + (number - (len(others) - 1) / 2) * gap
            if (key, objective) in found:
                _interval(axes, found[key, objective], place, colour(number + 1))
    axes.set_ylim(len(keys) - 0.5, -0.5)
    between = [row + 0.5 for row in range(len(keys) - 1)]
    axes.hlines(between, 0, 1, INK, transform=axes.get_yaxis_transform(), linewidth=0.2)
    axes.set_xlabel(f"percentage points more than {table.objectives[0]}")
    handles = [Line2D([], [], color=colour(number + 1), linewidth=5, label=each) for number, each in enumerate(others)]
    handles += [_mark("difference shown", INK), _mark("not shown", "none")]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def _mark(label: str, face: str) -> Line2D:
    shape: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 5}
    return Line2D([], [], color=INK, label=label, markerfacecolor=face, **shape)


def _interval(axes: Axes, one: _Interval, place: float, edge: str) -> None:
    mean, low, high, is_claimed = one
    if low is not None and high is not None:
        axes.plot([100 * low, 100 * high], [place, place], color=edge, linewidth=1.6)
    axes.plot(100 * mean, place, "o", color=edge, markerfacecolor=edge if is_claimed else "none", markersize=5)
