"""How the report's plots look, and what they are made of: equal tables give equal bytes."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cyclip_model.reporting.results import Cell

INK = "#757575"
"""Colour of text and lines in the plots: readable on black and on white; inside the page they take the page's own."""
COLOURS = ("#4C78A8", "#F58518", "#54A24B", "#B279A2", "#E45756", "#72B7B2", "#9D755D", "#EECA3B")
"""One an objective, told apart by most colour-blind readers, visible on black and on white."""
STYLE = {
    "svg.hashsalt": "clipline",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
WIDTH_IN = 8.5
NUM_COLUMNS = 3
MAX_PANELS = 12
"""Of one plot; what is beyond stands in the tables."""
_MAX_TITLE_CHARS = 34


class Plot(NamedTuple):
    """One plot of the page."""

    svg: str
    caption: str


def colour(number: int) -> str:
    """Of the objective with that number."""
    return COLOURS[number % len(COLOURS)]


def svg(figure: Figure) -> str:
    """A figure's SVG text, without date or trailing blanks."""
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return re.sub(r"[ \t]+\n", "\n", target.getvalue())


def panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure of small multiples, three in a row, and their axes."""
    num_rows = -(-len(titles) // NUM_COLUMNS)
    figure = Figure(figsize=(WIDTH_IN, 0.5 + 2.6 * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, NUM_COLUMNS, squeeze=False).ravel().tolist()
    for axes in grid[len(titles) :]:
        axes.remove()
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title("\n".join(shortened(each) for each in title.split("\n")))
    return figure, grid[: len(titles)]


def shortened(text: str, most: int = _MAX_TITLE_CHARS) -> str:
    """The text, cut where a panel is too narrow for it."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def line(
    axes: Axes,
    cells: Sequence[Cell | None],
    places: Sequence[int],
    level: Callable[[Cell], float | None],
    style: dict[str, Any],
) -> None:
    """Percentages of the cells that have that level, joined."""
    points = [(place, level(cell)) for place, cell in zip(places, cells, strict=True) if cell is not None]
    known = [(place, 100 * share) for place, share in points if share is not None]
    axes.plot([place for place, _ in known], [share for _, share in known], **style)


def legend(figure: Figure, objectives: Sequence[str], *levels: tuple[str, str]) -> None:
    """Colours of the objectives, and (name, line style) of what else is drawn, above the panels."""
    handles = [Line2D([], [], color=colour(number), linewidth=5, label=name) for number, name in enumerate(objectives)]
    handles += [Line2D([], [], color=INK, linewidth=1.4, linestyle=style, label=name) for name, style in levels]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 7))
