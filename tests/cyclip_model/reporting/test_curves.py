"""Small multiples: what is on the axes, read back from the figures; style.py's panels and plots.py's caps."""

import itertools
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes

from cyclip_model.reporting import curves, plots, robustness, style
from cyclip_model.reporting.results import Cell, Table


def cell(value: float, chance: float | None = None) -> Cell:
    return Cell(by_seed={0: value}, chances=[] if chance is None else [chance], majority=None, n=100)


def drawn(axes: Axes) -> list[list[tuple[float, float]]]:
    """Points of every line of the axes."""
    lines = [np.asarray(line.get_xydata(), dtype=float).round(6) for line in axes.get_lines()]
    return [[(float(x), float(y)) for x, y in line] for line in lines]


def test_recall_stands_over_its_k_with_chance_below() -> None:
    made = Table(objectives=["clip"], seeds=[0])
    for k, value in ((10, 0.5), (1, 0.2), (5, 0.4)):
        made.cells["coco", "retrieval", "test", "image_to_text", f"recall_{k}"] = {"clip": cell(value, k / 100)}
    made.cells["coco", "retrieval", "test", "image_to_text", "median_rank"] = {"clip": cell(3)}
    figure = curves.by_k(made, "retrieval", "recall_")
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_title() == "coco: test\nimage → text"
    assert drawn(axes)[:2] == [[(1, 20), (5, 40), (10, 50)], [(1, 1), (5, 5), (10, 10)]]


def test_robustness_is_drawn_in_logits_with_percentages_at_the_ticks() -> None:
    made = Table(objectives=["a", "b", "c"], seeds=[0])
    points = {"a": (0.5, 0.2), "b": (0.8, 0.5), "c": (0.2, 0.1)}
    for number, metric in enumerate((robustness.HOME, robustness.AWAY)):
        made.cells["v2", "shift", "test", "imagenet", metric] = {
            name: cell(pair[number]) for name, pair in points.items()
        }
    figure = curves.robust(made)
    assert figure is not None
    (axes,) = figure.axes
    assert drawn(axes)[0][0] == pytest.approx((0.0, np.log(0.25)), abs=1e-6)
    ticks = {text.get_text(): place for place, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)}
    assert ticks["50"] == 0
    assert ticks["80"] == pytest.approx(np.log(4))


def test_the_plane_has_a_point_a_seed() -> None:
    made = Table(objectives=["clip"], seeds=[0, 1])
    for metric, values in (("alignment", {0: 1.0, 1: 1.1}), ("uniformity_cross", {0: -2.0, 1: -2.5})):
        made.cells["coco", "geometry", "test", "pairs", metric] = {
            "clip": Cell(by_seed=values, chances=[], majority=None, n=4)
        }
    figure = curves.plane(made)
    assert figure is not None
    assert drawn(figure.axes[0]) == [[(1.0, -2.0), (1.1, -2.5)]]


def test_each_objective_has_its_losses_and_all_share_the_recall() -> None:
    made = Table(objectives=["clip", "nclip"], seeds=[0])
    for name, sign in (("clip", 1), ("nclip", -1)):
        epochs = [
            {"epoch": e, "loss": sign * 5 / e, "val_loss": sign * 6 / e, "val_recall_10": e / 10} for e in (1.0, 2.0)
        ]
        made.histories[name] = {0: epochs}
    figure = curves.history(made)
    assert figure is not None
    first, second, recall = figure.axes
    assert drawn(first) == [[(1, 5), (2, 2.5)], [(1, 6), (2, 3)]]
    assert drawn(second) == [[(1, -5), (2, -2.5)], [(1, -6), (2, -3)]]
    assert drawn(recall) == [[(1, 10), (2, 20)]] * 2


def test_a_table_without_the_data_draws_nothing() -> None:
    made = Table(objectives=["clip"], seeds=[0])
    assert plots.draw(made, [], {}, 0.95) == {}


def test_thirty_sets_are_capped_and_hostile_names_stay_text() -> None:
    made = Table(objectives=["clip", "cyclip"], seeds=[0])
    names = ["$x_{", "<b>&"] + [f"set{number}" for number in range(30)]
    for name, k in itertools.product(names, (1, 3)):
        made.cells[name, "consistency", "test", "prompt", f"k_{k}"] = dict.fromkeys(made.objectives, cell(0.5))
    found = plots.draw(made, [], {}, 0.95)
    assert sorted(found) == ["consistency", "headline"]
    for plot in found.values():
        ET.fromstring(plot.svg)  # noqa: S314  our own plot
    with mpl.rc_context(style.STYLE):
        figure = curves.by_k(made, "consistency", "k_")
        assert figure is not None
        assert len(figure.axes) == style.MAX_PANELS
    assert plots.draw(made, [], {}, 0.95) == found, "the same bytes"


def test_long_titles_are_cut() -> None:
    assert style.shortened("short") == "short"
    assert style.shortened("x" * 50, 10) == "x" * 9 + "…"
