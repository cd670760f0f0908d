"""Values are binned so that every row counts once, and drawn as the same bytes whatever the words."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pytest

from lineage import records
from pipelines import plots


def chunked(values: list[Any], kind: Any = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind or pa.float64())])


def spread(values: list[Any], keep: list[bool], kind: Any = None) -> plots.Spread:
    found = plots.spread("x", chunked(values, kind), np.array(keep))
    assert found is not None
    return found


def test_whole_numbers_have_a_bin_each() -> None:
    found = spread([3, 5, 3, None, 4], [True, True, False, True, False])
    assert found.edges == [2.5, 3.5, 4.5, 5.5]
    assert (found.kept, found.dropped, found.unknown) == ([1, 0, 1], [1, 1, 0], 1)


@pytest.mark.parametrize("values", [[0.1, 0.7, -3.0], [1e-3, 2e-3, 4.0, 7e9], [0.5], [0.0, 0.0], [1.0, 1e300]])
def test_every_number_is_in_a_bin(values: list[float]) -> None:
    found = spread(values, [True] * len(values))
    assert found.edges is not None
    assert len(found.edges) == len(found.kept) + 1
    assert sum(found.kept) == len(values)


def test_far_apart_numbers_are_binned_by_powers() -> None:
    found = spread([1.5, 2.5, 3.5, 4000.0], [True] * 4)
    assert found.edges is not None
    ratios = np.array(found.edges[1:]) / np.array(found.edges[:-1])
    assert np.allclose(ratios, ratios[0])
    assert (found.edges[0], found.edges[-1]) == (1.5, 4000.0)


def test_powers_are_labelled_in_plain_numbers(tmp_path: Path) -> None:
    plots.draw([spread([1.5, 20.0, 300.0, 4000.0, 2.0, 2.1], [True] * 6)], tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    assert "mathdefault" not in drawn
    assert ">1000<" in drawn


def test_the_most_frequent_words_then_the_others() -> None:
    words = ["en"] * 20 + [f"l{n:02d}" for n in range(14)]
    found = spread(words, [True] * 19 + [False] * 15, pa.string())
    assert found.words == ["en", *(f"l{n:02d}" for n in range(11)), "other"]
    assert found.kept == [19] + [0] * 12
    assert found.dropped == [1] * 12 + [3]


def test_what_cannot_be_drawn_is_left_out() -> None:
    assert plots.spread("x", chunked([None, None]), np.array([True, True])) is None
    hashes = chunked([f"{n:064x}" for n in range(100)], pa.string())
    assert plots.spread("x", hashes, np.ones(100, bool)) is None


def test_values_of_all_snapshots_are_put_together(tmp_path: Path) -> None:
    for snapshot, uid, value, keep in (("s1", "a", 1.0, True), ("s2", "b", 2.0, False)):
        row = {"uid": uid, "keep": keep}
        records.write_table(records.rows_table([row], records.VERDICTS), tmp_path / snapshot / "verdicts.parquet")
        records.write_table(pa.table({"uid": [uid], "x": [value]}), tmp_path / snapshot / "values.parquet")
    [found] = plots.spreads(tmp_path, ["s1", "s2"])
    assert (found.label, found.kept, found.dropped) == ("x", [1, 0], [0, 1])


def test_a_script_or_language_is_drawn_without_its_share() -> None:
    found = spread(["latin 0.5", "latin 1", "greek 0.571", "two words 1"], [True] * 4, pa.string())
    assert found.words == ["latin", "greek", "two words 1"]


def test_the_drawing_is_the_same_twice_and_hostile_words_are_harmless(tmp_path: Path) -> None:
    words = ["$\\frac{", "<script>&", "a\x00b", "x" * 300] * 3
    made = [spread(words, [True] * 12, pa.string()), spread([0.1, 0.2, 5.5], [True, False, True])]
    plots.draw(made, tmp_path / "a.svg")
    with mpl.rc_context({"font.size": 30, "svg.hashsalt": None}):
        plots.draw(made, tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text()
    assert (tmp_path / "b.svg").read_text() == text
    assert "<dc:date>" not in text
    assert "<script" not in text
    for shown in (">$\\frac{<", ">&lt;script&gt;&amp;<", ">a?b<", f">{'x' * 24}<", ">not kept<"):
        assert shown in text


def test_nothing_to_draw_is_a_page_all_the_same(tmp_path: Path) -> None:
    plots.draw([], tmp_path / "deep" / "a.svg")
    assert "</svg>" in (tmp_path / "deep" / "a.svg").read_text()
