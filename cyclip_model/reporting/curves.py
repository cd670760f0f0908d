"""Small multiples of the report: robustness, consistency, retrieval, the alignment-uniformity plane, training."""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cyclip_model.reporting import robustness, style
from cyclip_model.reporting.families import heading, metric_words, part_words, set_names, words
from cyclip_model.reporting.results import Key, Table
from cyclip_model.reporting.style import INK, colour

_DOT: dict[str, Any] = {"marker": "o", "markersize": 4}
_CHANCE, _MAJORITY = ("chance", "-"), ("majority class", ":")
_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
_SUITE_SHIFTS = (
    ("naming", ("seen", "twemoji", "lineart"), "names"),
    ("subcategory", ("novel", "novel_twemoji", "novel_lineart"), "members"),
    ("category", ("novel", "novel_twemoji", "novel_lineart"), "members"),
)
"""(protocol, parts from home to far, variant)"""
_PLANES = (("pairs", "uniformity_cross"), ("names", "uniformity"))
"""(variant, what stands on the upright axis) of the geometry plots."""
_RECALL = "val_recall_10"


def shift(table: Table) -> Figure | None:
    """How accuracy falls from the training artists to a new artist and to line art."""
    found = [
        (name, protocol, parts, variant)
        for name in set_names(table)
        for protocol, parts, variant in _SUITE_SHIFTS
        if (name, protocol, parts[0], variant, "top_1") in table.cells
    ][: style.MAX_PANELS]
    if not found:
        return None
    figure, grid = style.panels([f"{name}\n{heading(protocol)}" for name, protocol, _, _ in found])
    for axes, (name, protocol, parts, variant) in zip(grid, found, strict=True):
        _lines(axes, table, [(name, protocol, part, variant, "top_1") for part in parts], range(len(parts)))
        axes.set_xticks(range(len(parts)), ["home", "new artist", "line art"])
        axes.set_xlim(-0.3, len(parts) - 0.7)
    style.legend(figure, table.objectives, _CHANCE, _MAJORITY)
    return figure


def by_k(table: Table, protocol: str, metric: str) -> Figure | None:
    """A protocol whose metrics are `metric` and a number k, by that number: consistency, recall."""
    groups: dict[tuple[str, str, str, str], list[tuple[int, Key]]] = {}
    for key in table.cells:
        number = key[4].removeprefix(metric)
        if key[1] == protocol and "without" not in key[3] and number.isdigit():
            groups.setdefault(key[:4], []).append((int(number), key))
    order = {name: number for number, name in enumerate(set_names(table))}
    drawn = sorted((of for of in groups if len(groups[of]) > 1), key=lambda of: (order[of[0]], of))[: style.MAX_PANELS]
    if not drawn:
        return None
    figure, grid = style.panels([_title(of) for of in drawn])
    for axes, of in zip(grid, drawn, strict=True):
        places, keys = zip(*sorted(groups[of]), strict=True)
        _lines(axes, table, keys, places)
        axes.set_xticks(places)
        axes.set_xlabel("k")
    style.legend(figure, table.objectives, _CHANCE)
    return figure


def _lines(axes: Axes, table: Table, keys: Sequence[Key], places: Sequence[int]) -> None:
    for number, objective in enumerate(table.objectives):
        cells = [table.cells.get(key, {}).get(objective) for key in keys]
        style.line(axes, cells, places, lambda cell: cell.mean, {"color": colour(number), **_DOT})
    firsts = [next(iter(table.cells[key].values())) if key in table.cells else None for key in keys]
    style.line(axes, firsts, places, lambda cell: cell.chance, {"color": INK, "linewidth": 1.2})
    style.line(axes, firsts, places, lambda cell: cell.majority, {"color": INK, "linewidth": 1.2, "linestyle": ":"})
    axes.set_ylim(bottom=0)
    axes.set_ylabel("%")


def robust(table: Table) -> Figure | None:
    """Accuracy away against accuracy at home as logits, a point a model, with the line through them all."""
    found = robustness.shifts(table)[: style.MAX_PANELS]
    if not found:
        return None
    figure, grid = style.panels([_title(one.key) for one in found])
    for axes, one in zip(grid, found, strict=True):
        points = [(objective, x, y) for objective, _, x, y in robustness.points(one) if 0 < x < 1 and 0 < y < 1]
        for objective, x, y in points:
            number = table.objectives.index(objective)
            axes.plot(_logit(x), _logit(y), color=colour(number), linestyle="", **_DOT)
        _logit_axes(axes, [x for _, x, _ in points], [y for _, _, y in points])
        through = robustness.line(one)
        if through is not None:
            axes.axline((0, through[1]), slope=through[0], color=INK, linewidth=1)
        axes.axline((0, 0), slope=1, color=INK, linewidth=1, linestyle=":")
        axes.set_xlabel("top-1 at home, %")
        axes.set_ylabel("top-1 away, %")
    style.legend(figure, table.objectives, ("line through all models", "-"), ("no loss", ":"))
    return figure


def _logit(share: float) -> float:
    return log(share / (1 - share))


def _logit_axes(axes: Axes, xs: Sequence[float], ys: Sequence[float]) -> None:
    """Limits around the points, and a few round percentages as ticks."""
    for shares, limit, ticks in ((xs, axes.set_xlim, axes.set_xticks), (ys, axes.set_ylim, axes.set_yticks)):
        if not shares:
            continue
        low, high = _logit(min(shares)) - 0.4, _logit(max(shares)) + 0.4
        inside = [tick for tick in _TICKS if low < _logit(tick) < high] or [1 / (1 + exp(-(low + high) / 2))]
        ticks([_logit(tick) for tick in inside], [f"{100 * tick:.3g}" for tick in inside])
        limit(low, high)


def plane(table: Table) -> Figure | None:
    """Alignment and uniformity of every model: the corner to be in is said by the axes."""
    found = [
        (key, (*key[:4], upright))
        for variant, upright in _PLANES
        for key in sorted(table.cells)
        if key[1] == "geometry" and key[3:] == (variant, "alignment") and (*key[:4], upright) in table.cells
    ][: style.MAX_PANELS]
    if not found:
        return None
    figure, grid = style.panels([_title(key) for key, _ in found])
    for axes, (across, upright) in zip(grid, found, strict=True):
        for number, objective in enumerate(table.objectives):
            xs, ys = (table.cells[key].get(objective) for key in (across, upright))
            if xs and ys:
                shared = [seed for seed in xs.by_seed if seed in ys.by_seed]
                points = [xs.by_seed[seed] for seed in shared], [ys.by_seed[seed] for seed in shared]
                axes.plot(*points, color=colour(number), linestyle="", **_DOT)
        better = "lower" if across[3] == "pairs" else "higher"
        axes.set_xlabel(f"alignment ({better}: closer)")
        axes.set_ylabel(f"{metric_words(upright[4])} (lower)")
        axes.margins(0.15)
    style.legend(figure, table.objectives)
    return figure


def history(table: Table) -> Figure | None:
    """What training measured after every epoch, a line a seed: losses apart, for each objective has its own scale."""
    known = [name for name in table.objectives if table.histories.get(name)][: style.MAX_PANELS - 1]
    if not known:
        return None
    figure, grid = style.panels([*(f"{name}: loss" for name in known), "validation R@10, %"])
    for axes, name in zip(grid, known, strict=False):
        for epochs in table.histories[name].values():
            shared: dict[str, Any] = {"color": colour(table.objectives.index(name)), "linewidth": 1.2}
            axes.plot(*_course(epochs, "loss", 1), **shared)
            axes.plot(*_course(epochs, "val_loss", 1), linestyle="--", **shared)
            grid[-1].plot(*_course(epochs, _RECALL, 100), **shared)
    for axes in grid:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.legend(figure, table.objectives, ("training", "-"), ("validation", "--"))
    return figure


def _course(epochs: Sequence[Mapping[str, float]], column: str, scale: int) -> tuple[list[float], list[float]]:
    rows = [row for row in epochs if column in row and "epoch" in row]
    return [row["epoch"] for row in rows], [scale * row[column] for row in rows]


def _title(key: Sequence[str]) -> str:
    """Set and part, and below them the variant."""
    return f"{key[0]}: {part_words(key[2])}\n{words(key[3])}"
