"""The funnel adds up, and its drawing is the same bytes every time."""

import itertools
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from lineage import reasons
from pipelines import funnel


def account(rows_in: int, kept: int, dropped: dict[str, int], failed: dict[str, int]) -> dict[str, Any]:
    return {"rows_in": rows_in, "kept": kept, "dropped": dropped, "failed": failed}


def make_funnel(*names: str) -> funnel.Funnel:
    counts = {
        "source": account(10, 8, {"repeat": 1}, {"no_url": 1}),
        "download": account(8, 6, {}, {"http_404": 2}),
        "measure": account(8, 5, {}, {"http_404": 2, "truncated": 1}),
        "embed": account(5, 4, {}, {"not_embedded": 1}),
        "select": account(8, 3, {"too_small": 1}, {"http_404": 2, "truncated": 1, "not_embedded": 1}),
        "pack": {**account(3, 3, {}, {}), "licenses": {}},
    }
    return funnel.Funnel(counts=dict.fromkeys(names, counts))


def test_what_is_left_and_what_went_is_all_there_was() -> None:
    made = make_funnel("s1", "s2")
    assert made.left("s1") == {"list": 10, "source": 8, "download": 6, "measure": 5, "embed": 4, "select": 3}
    assert made.total() == {"list": 20, "source": 16, "download": 12, "measure": 10, "embed": 8, "select": 6}
    assert made.reasons("dropped") == {"repeat": 2, "too_small": 2}
    assert list(made.reasons("failed")) == ["http_404", "no_url", "not_embedded", "truncated"]
    lost = sum(made.reasons("dropped").values()) + sum(made.reasons("failed").values())
    assert made.total()["list"] == made.total()["select"] + lost
    assert made.as_json()["left"] == {"s1": made.left("s1"), "s2": made.left("s2")}


def test_the_drawing_is_the_same_twice_without_date_or_host(tmp_path: Path) -> None:
    funnel.draw(make_funnel("s1", "s2"), tmp_path / "a.svg")
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.grid": True}):  # a user's own matplotlibrc
        funnel.draw(make_funnel("s1", "s2"), tmp_path / "b.svg")
        assert mpl.rcParams["font.size"] == 30
    text = (tmp_path / "a.svg").read_text()
    assert (tmp_path / "b.svg").read_text() == text
    assert "<dc:date>" not in text
    assert str(tmp_path) not in text
    for word in ("s1", "s2", "http_404", "too_small", " 20"):
        assert f">{word}<" in text


def test_every_reason_has_a_line_of_its_own(tmp_path: Path) -> None:
    made = make_funnel("s1")
    made.counts["s1"]["select"]["dropped"] = dict.fromkeys(reasons.SELECT, 3)
    funnel.draw(made, tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    places = {word: re.search(rf'y="([0-9.]+)"[^>]*>{word}<', text) for word in reasons.SELECT}
    heights = sorted(float(place.group(1)) for place in places.values() if place is not None)
    assert len(heights) == len(reasons.SELECT)
    assert min(after - before for before, after in itertools.pairwise(heights)) > 8  # points: they do not overlap


@pytest.mark.parametrize("names", [("s1",), tuple(f"s{n}" for n in range(9))])
def test_any_number_of_snapshots_can_be_drawn(tmp_path: Path, names: tuple[str, ...]) -> None:
    funnel.draw(make_funnel(*names), tmp_path / "deep" / "a.svg")
    assert (tmp_path / "deep" / "a.svg").stat().st_size > 1000
