"""Drawings of the data set: one page as SVG, the same bytes every time, and how a rule's values are spread."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lineage import records

KEPT_COLOUR, DROPPED_COLOUR, FAILED_COLOUR = "#3ca951", "#9498a0", "#ff725c"
_NUM_BINS, _NUM_WORDS, _NUM_SHOWN = 40, 12, 24
_MIN_SHARE_OF_WORDS = 0.5
_WIDE_RANGE = 50
_WORD_AND_SHARE = r"^([a-z]+) [0-9.]+$"
"""A script or a language with its share: drawn by the word."""
_PANEL_WIDTH, _PANEL_HEIGHT, _PANELS_A_ROW = 3.6, 2.4, 3


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """How the values of one rule are spread over the rows that were kept and those that were not."""

    label: str
    """The rule's label, a column of values.parquet."""
    edges: list[float] | None
    """Of numbers: the bins' edges, one more than there are counts."""
    words: list[str] | None
    """Of words: the most frequent ones, then `other`."""
    kept: list[int]
    dropped: list[int]
    unknown: int
    """Rows without a value: they failed earlier, or there is none for them."""


@contextlib.contextmanager
def page(path: Path, width: float, height: float) -> Iterator[Any]:
    """Yields a figure of so many inches, and writes it as SVG: no date, no random id, nothing of a user's settings."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context():
        mpl.rcdefaults()  # a user's matplotlibrc must not change the bytes
        mpl.rcParams.update({"svg.hashsalt": "clipline", "svg.fonttype": "none", "font.size": 9})
        mpl.rcParams["text.parse_math"] = False  # a stranger's words are no formulas
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        for axes in figure.axes:
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def spreads(selection: Path, snapshots: list[str]) -> list[Spread]:
    """Returns the spread of every rule's values over all snapshots, as far as there is one to draw.

    Left out are rules whose values are words that hardly ever repeat, such as hashes.

    Raises:
        ValueError: if values.parquet and verdicts.parquet of a snapshot do not tell of the same rows.
    """
    keeps = [_keep(selection / snapshot) for snapshot in snapshots]
    schemas = [records.read_table(selection / snapshot / "values.parquet").schema for snapshot in snapshots[:1]]
    labels = [name for schema in schemas for name in schema.names if name != "uid"]
    found = (spread(label, _column(selection, snapshots, label), np.concatenate(keeps)) for label in labels)
    return [made for made in found if made is not None]


def spread(label: str, values: pa.ChunkedArray, keep: npt.NDArray[np.bool_]) -> Spread | None:
    """Returns how one rule's values are spread, or None where there is nothing to draw.

    Args:
        label: the rule.
        values: numbers or words, null where unknown, a row each.
        keep: (N,) whether the row was kept.
    """
    known = values.is_valid().to_numpy()
    if not known.any():
        return None
    keep, unknown = keep[known], int(len(known) - known.sum())
    values = values.drop_null()
    if not pa.types.is_floating(values.type):
        return _of_words(label, values, keep, unknown)
    numbers = values.to_numpy()
    edges = _edges(numbers)
    kept, dropped = (np.histogram(numbers[chosen], edges)[0].tolist() for chosen in (keep, ~keep))
    return Spread(label=label, edges=edges.tolist(), words=None, kept=kept, dropped=dropped, unknown=unknown)


def draw(spreads: list[Spread], path: Path) -> None:
    """Draws each spread as a small panel: what was kept over what was not."""
    rows = max(1, -(-len(spreads) // _PANELS_A_ROW))
    with page(path, _PANEL_WIDTH * _PANELS_A_ROW, _PANEL_HEIGHT * rows + 0.4) as figure:
        panels = figure.subplots(rows, _PANELS_A_ROW, squeeze=False).ravel()
        for axes in panels[len(spreads) :]:
            axes.set_axis_off()
        for axes, one in zip(panels, spreads, strict=False):
            (_draw_numbers if one.words is None else _draw_words)(axes, one)
            note = f" ({one.unknown:,} without a value)" if one.unknown else ""
            axes.set_title(f"{one.label}{note}", loc="left", fontsize=9)
        figure.supylabel("pairs", fontsize=9)
        if spreads:
            handles, names = panels[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside upper right", ncols=2, frameon=False)


def _keep(selection: Path) -> npt.NDArray[np.bool_]:
    verdicts = records.read_table(selection / "verdicts.parquet", columns=["uid", "keep"])
    if verdicts["uid"] != records.read_table(selection / "values.parquet", columns=["uid"])["uid"]:
        raise ValueError(f"{selection}: values.parquet and verdicts.parquet differ in rows; run `dvc repro select`")
    keep: npt.NDArray[np.bool_] = verdicts["keep"].to_numpy()
    return keep


def _column(selection: Path, snapshots: list[str], label: str) -> pa.ChunkedArray:
    tables = [records.read_table(selection / snapshot / "values.parquet", columns=[label]) for snapshot in snapshots]
    return pa.concat_tables(tables)[label]


def _edges(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns the edges of the bins: whole numbers each their own where they are few, by powers where far apart."""
    low, high = float(numbers.min()), float(numbers.max())
    whole = bool((numbers == np.floor(numbers)).all())
    if whole and high - low < _NUM_BINS:
        return np.arange(low, high + 2) - 0.5
    if low > 0 and high / float(np.median(numbers)) > _WIDE_RANGE:
        edges: npt.NDArray[np.float64] = np.geomspace(low, high, _NUM_BINS + 1)
        edges[[0, -1]] = low, high  # rounding must not lose the outermost
        return edges
    return np.linspace(low, high, _NUM_BINS + 1)


def _of_words(label: str, values: pa.ChunkedArray, keep: npt.NDArray[np.bool_], unknown: int) -> Spread | None:
    texts = pc.replace_substring_regex(values.cast(pa.string()), _WORD_AND_SHARE, r"\1")
    counts = texts.value_counts().to_pylist()
    ordered = [one["values"] for one in sorted(counts, key=lambda one: (-one["counts"], one["values"]))]
    words, others = ordered[:_NUM_WORDS], len(ordered) > _NUM_WORDS
    places = pc.fill_null(pc.index_in(texts, pa.array(words, pa.string())), len(words)).to_numpy()
    if (places < len(words)).mean() < _MIN_SHARE_OF_WORDS:
        return None
    kept, dropped = (np.bincount(places[chosen], minlength=len(words) + others).tolist() for chosen in (keep, ~keep))
    names = [*words, "other"] if others else words
    return Spread(label=label, edges=None, words=names, kept=kept, dropped=dropped, unknown=unknown)


def _draw_numbers(axes: Any, one: Spread) -> None:
    assert one.edges is not None
    middles, widths = np.array(one.edges[:-1]), np.diff(one.edges)
    axes.bar(middles, one.kept, widths, align="edge", color=KEPT_COLOUR, label="kept")
    axes.bar(middles, one.dropped, widths, bottom=one.kept, align="edge", color=DROPPED_COLOUR, label="not kept")
    if widths[-1] > 2 * widths[0]:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")  # by default it is TeX, which no browser reads
        axes.xaxis.set_minor_formatter(lambda *_: "")


def _draw_words(axes: Any, one: Spread) -> None:
    assert one.words is not None
    places = np.arange(len(one.words))
    axes.barh(places, one.kept, color=KEPT_COLOUR, label="kept")
    axes.barh(places, one.dropped, left=one.kept, color=DROPPED_COLOUR, label="not kept")
    shown = ["".join(char if char.isprintable() else "?" for char in word[:_NUM_SHOWN]) for word in one.words]
    axes.set_yticks(places, shown, fontsize=7)
    axes.invert_yaxis()
