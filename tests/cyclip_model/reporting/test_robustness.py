"""Effective robustness: models on a known line, and one off it by a known amount."""

from math import exp, log

import pytest

from cyclip_model.reporting import robustness
from cyclip_model.reporting.results import Cell, Key, Table

PLACE = ("v2", "shift", "test", "imagenet")


def cell(value: float) -> Cell:
    return Cell(by_seed={0: value}, chances=[], majority=None, n=100)


def away(home: float, slope: float = 0.8, intercept: float = -0.5) -> float:
    return 1 / (1 + exp(-(slope * log(home / (1 - home)) + intercept)))


def table(points: dict[str, tuple[float, float]]) -> Table:
    made = Table(objectives=list(points), seeds=[0])
    for metric, number in (("parent_top_1", 0), ("top_1", 1)):
        key: Key = (*PLACE, metric)
        made.cells[key] = {name: cell(pair[number]) for name, pair in points.items()}
    return made


def test_models_on_the_line_have_none_and_the_line_is_found() -> None:
    made = table({name: (home, away(home)) for name, home in (("a", 0.2), ("b", 0.5), ("c", 0.7))})
    robustness.add(made)
    (one,) = robustness.shifts(made)
    assert robustness.line(one) == pytest.approx((0.8, -0.5))
    left = made.cells[*PLACE, "effective_robustness"]
    assert [left[name].mean for name in "abc"] == pytest.approx([0, 0, 0], abs=1e-12)


def test_what_lies_above_the_line_is_what_is_left_over() -> None:
    """Of two models at 0.5, one 4 points above and one below: the line goes between them, through the third."""
    low, high = (1 / (1 + exp(-(-0.5 + off))) for off in (-0.2, 0.2))
    made = table({"a": (0.5, low), "b": (0.5, high), "c": (0.8, away(0.8))})
    robustness.add(made)
    left = made.cells[*PLACE, "effective_robustness"]
    assert left["b"].mean == pytest.approx(high - away(0.5))
    assert left["a"].mean == pytest.approx(low - away(0.5))
    assert left["a"].n is None, "a signed share has no binomial margin"


@pytest.mark.parametrize(
    "points",
    [
        {"a": (0.2, 0.1), "b": (0.5, 0.3)},
        {"a": (0.2, 0.1), "b": (0.5, 0.3), "c": (1.0, 0.9)},
        {"a": (0.2, 0.1), "b": (0.2, 0.3), "c": (0.2, 0.4)},
    ],
    ids=["two models", "one without a logit", "all alike at home"],
)
def test_without_a_line_nothing_is_said(points: dict[str, tuple[float, float]]) -> None:
    made = table(points)
    robustness.add(made)
    assert (*PLACE, "effective_robustness") not in made.cells


def test_the_suites_parts_are_shifts_too() -> None:
    made = Table(objectives=["a"], seeds=[0])
    for part, value in (("seen", 0.5), ("twemoji", 0.4)):
        made.cells["emoji", "naming", part, "names", "top_1"] = {"a": cell(value)}
    robustness.add(made)
    (one,) = robustness.shifts(made)
    assert one.key == ("emoji", "shift", "twemoji", "naming_from_seen")
    assert (one.home["a"].mean, one.away["a"].mean) == (0.5, 0.4)
