"""Plots of the report as SVG text: equal tables give equal bytes."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cyclip_model.reporting.differences import Difference
from cyclip_model.reporting.report import (
    HEADLINE,
    INK,
    PARTS,
    PROTOCOLS,
    headline_keys,
    headline_label,
    metric_words,
    set_names,
    words,
)
from cyclip_model.reporting.results import Cell, Key, Table

COLOURS = ("#4C78A8", "#F58518", "#54A24B", "#B279A2", "#E45756", "#72B7B2", "#9D755D", "#EECA3B")
"""One an objective, told apart by most colour-blind readers, visible on black and on white."""
STYLE = {
    "svg.hashsalt": "clipline",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
SHIFTS = (
    ("naming", ("seen", "twemoji", "lineart"), "names", "top_1"),
    ("subcategory", ("novel", "novel_twemoji", "novel_lineart"), "members", "top_1"),
    ("category", ("novel", "novel_twemoji", "novel_lineart"), "members", "top_1"),
)
"""(protocol, parts from home to far, variant, metric)"""
VOTES = (("novel", "members"), ("novel", "prompt"), ("twemoji", "names"))
"""(part, variant) of the consistency plot."""


def draw(table: Table, found: Sequence[Difference], confidence: float) -> dict[str, str]:
    """Name -> SVG text of every plot, for the first set of the report.

    Args:
        table: results of all models.
        found: every objective against the first; drawn where several seeds give intervals.
        confidence: of those intervals.
    """
    name = set_names(table)[0]
    with mpl.rc_context(STYLE):
        figures = {"headline": headline(table, name)}
        if any(one.p_holm is not None and one.key[0] == name for one in found):
            figures["differences"] = differences(table, name, found, confidence)
        figures |= {"shift": shift(table, name), "consistency": votes(table, name)}
        return {plot: _svg(figure) for plot, figure in figures.items()}


def _svg(figure: Figure) -> str:
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return re.sub(r"[ \t]+\n", "\n", target.getvalue())


def headline(table: Table, name: str) -> Figure:
    """Bars of the headline metrics, chance and majority levels as marks on them."""
    keys = [(name, *key) for key in HEADLINE if (name, *key) in table.cells]
    height = 0.8 / len(table.objectives)
    figure = Figure(figsize=(8.5, 1.1 + 0.5 * len(keys)), layout="constrained")
    axes = figure.subplots()
    for row, key in enumerate(keys):
        for number, objective in enumerate(table.objectives):
            place = row + (number - (len(table.objectives) - 1) / 2) * height
            _bar(axes, table.cells[key].get(objective), place, 0.9 * height, _colour(number))
        _levels(axes, next(iter(table.cells[key].values())), row)
    axes.set_yticks(range(len(keys)), [_headline_label(key) for key in keys])
    axes.set_ylim(len(keys) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("%")
    _legend(figure, table.objectives)
    return figure


def _headline_label(key: Key) -> str:
    return f"{headline_label(key)}\n{PARTS[key[2]]}"


def _bar(axes: Axes, cell: Cell | None, place: float, height: float, colour: str) -> None:
    if cell is None:
        return
    axes.barh(place, 100 * cell.mean, height, color=colour)
    if cell.spread is not None:
        axes.errorbar(100 * cell.mean, place, xerr=100 * cell.spread, color=INK, capsize=2, linewidth=0.8)


def _levels(axes: Axes, cell: Cell, row: int) -> None:
    for level, style in ((cell.chance, "-"), (cell.majority, ":")):
        if level is not None:
            axes.plot([100 * level] * 2, [row - 0.45, row + 0.45], color=INK, linestyle=style, linewidth=1.6)


def differences(table: Table, name: str, found: Sequence[Difference], confidence: float) -> Figure:
    """Every objective less the first, in points, with the interval that seeds leave; filled where it is shown."""
    keys = [key for key in headline_keys(table) if key[0] == name]
    by_place = {(one.key, one.objective): one for one in found}
    others = table.objectives[1:]
    gap = 0.7 / max(len(others), 1)
    figure = Figure(figsize=(8.5, 1.1 + 0.5 * len(keys)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=1.2)
    for row, key in enumerate(keys):
        for number, objective in enumerate(others):
            place = row + (number - (len(others) - 1) / 2) * gap
            _interval(axes, by_place.get((key, objective)), place, _colour(number + 1), confidence)
    axes.set_yticks(range(len(keys)), [_headline_label(key) for key in keys])
    axes.set_ylim(len(keys) - 0.5, -0.5)
    axes.hlines(
        [row + 0.5 for row in range(len(keys) - 1)], 0, 1, INK, transform=axes.get_yaxis_transform(), linewidth=0.2
    )
    axes.set_xlabel(f"percentage points more than {table.objectives[0]}")
    handles = [Line2D([], [], color=_colour(number + 1), linewidth=5, label=each) for number, each in enumerate(others)]
    handles += [_mark("shown", INK), _mark("not shown", "none")]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure


def _mark(label: str, face: str) -> Line2D:
    return Line2D([], [], color=INK, marker="o", linestyle="", markersize=5, label=label, markerfacecolor=face)


def _interval(axes: Axes, one: Difference | None, place: float, colour: str, confidence: float) -> None:
    if one is None:
        return
    if one.low is not None and one.high is not None:
        axes.plot([100 * one.low, 100 * one.high], [place, place], color=colour, linewidth=1.6)
    face = colour if one.is_shown(confidence) else "none"
    axes.plot(100 * one.mean, place, "o", color=colour, markerfacecolor=face, markersize=5)


def shift(table: Table, name: str) -> Figure:
    """How accuracy falls from the training artists to a new artist and to line art."""
    figure = Figure(figsize=(8.5, 3), layout="constrained")
    for axes, (protocol, parts, variant, metric) in zip(figure.subplots(1, len(SHIFTS)), SHIFTS, strict=True):
        keys = [(name, protocol, part, variant, metric) for part in parts]
        _lines(axes, table, keys, range(len(parts)))
        axes.set_xticks(range(len(parts)), ["trained artists", "new artist", "line art"])
        axes.set_title(f"{PROTOCOLS[protocol][0]}, {metric_words(metric)}", fontsize=9)
        axes.set_xlim(-0.3, len(parts) - 0.7)
    _legend(figure, table.objectives)
    return figure


def votes(table: Table, name: str) -> Figure:
    """Consistency by the number of neighbours that vote."""
    figure = Figure(figsize=(8.5, 3), layout="constrained")
    for axes, (part, variant) in zip(figure.subplots(1, len(VOTES)), VOTES, strict=True):
        keys = [key for key in table.cells if key[:4] == (name, "consistency", part, variant)]
        keys.sort(key=lambda key: int(key[4].removeprefix("k_")))
        _lines(axes, table, keys, [int(key[4].removeprefix("k_")) for key in keys])
        axes.set_xticks([int(key[4].removeprefix("k_")) for key in keys])
        axes.set_xlabel("k")
        axes.set_title(f"{PARTS[part]}, by {words(variant)}", fontsize=9)
    _legend(figure, table.objectives, majority=False)
    return figure


def _lines(axes: Axes, table: Table, keys: Sequence[Any], places: Sequence[int]) -> None:
    for number, objective in enumerate(table.objectives):
        cells = [table.cells.get(key, {}).get(objective) for key in keys]
        _line(axes, cells, places, lambda cell: cell.mean, {"color": _colour(number), "marker": "o", "markersize": 4})
    firsts = [next(iter(table.cells[key].values())) if key in table.cells else None for key in keys]
    _line(axes, firsts, places, lambda cell: cell.chance, {"color": INK, "linewidth": 1.2})
    _line(axes, firsts, places, lambda cell: cell.majority, {"color": INK, "linewidth": 1.2, "linestyle": ":"})
    axes.set_ylim(bottom=0)
    axes.set_ylabel("%")


def _line(
    axes: Axes,
    cells: Sequence[Cell | None],
    places: Sequence[int],
    level: Callable[[Cell], float | None],
    style: dict[str, Any],
) -> None:
    points = [(place, level(cell)) for place, cell in zip(places, cells, strict=True) if cell is not None]
    known = [(place, 100 * share) for place, share in points if share is not None]
    axes.plot([place for place, _ in known], [share for _, share in known], **style)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _legend(figure: Figure, objectives: Sequence[str], *, majority: bool = True) -> None:
    handles = [Line2D([], [], color=_colour(number), linewidth=5, label=name) for number, name in enumerate(objectives)]
    handles.append(Line2D([], [], color=INK, linewidth=1.4, label="chance"))
    if majority:
        handles.append(Line2D([], [], color=INK, linewidth=1.4, linestyle=":", label="majority class"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
