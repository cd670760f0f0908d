"""The DAG as a picture: stage instances, or stages where they have many, with counts on nodes and edges."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from lineage.site.layers import layout

MAX_INSTANCES = 6
"""Of a stage; with more they are one box, and with more roots in a folder those are."""
_WIDTH, _HEIGHT, _STEP, _GAP, _BEND, _MARGIN = 150.0, 44.0, 106.0, 14.0, 6.0, 12.0
_CHAR, _LABEL_CHAR, _LABEL_HEIGHT = 7.2, 6.4, 13.0
_LABEL_PLACES = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)
"""Tried one after the other along an edge, until its count covers no other's."""
_PROVENANCE = "provenance/"
"""Read by stages that count; left out of the picture, for it tells nothing of where pairs go."""
_MODEL_STAGES = ("train", "scorer", "evaluate", "compare")
Point = tuple[float, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Node:
    """One box; x is its middle, y its top."""

    x: float
    y: float
    width: float
    title: str
    instance: str
    note: str
    kind: str
    """data, model or root."""


@dataclasses.dataclass(frozen=True, slots=True)
class Arrow:
    """One edge: an SVG path, and a count with its place."""

    path: str
    label: str
    x: float
    y: float
    title: str


@dataclasses.dataclass(frozen=True, slots=True)
class Drawing:
    """All of the picture."""

    nodes: list[Node]
    arrows: list[Arrow]
    width: float
    height: float


def drawing(graph: Mapping[str, Any]) -> Drawing:
    """Returns the picture of the content of graph.json."""
    nodes = graph["nodes"]
    shown = [edge for edge in graph["edges"] if not edge["path"].startswith(_PROVENANCE)]
    box_of = _boxes(nodes, {edge["path"] for edge in shown if not edge["producers"]})
    paths: dict[tuple[str, str], set[str]] = {}
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for edge in shown:
        for producer in edge["producers"] or [edge["path"]]:
            pair = (box_of[producer], box_of[edge["reader"]])
            paths.setdefault(pair, set()).add(edge["path"])
            rows.setdefault(pair, {})[producer] = _rows(nodes, producer, edge["reader"])
    boxes = {name: _box(name, nodes, box_of) for name in sorted(set(box_of.values()))}
    placed = layout({name: box.width for name, box in boxes.items()}, paths, _GAP, _BEND)
    made = [dataclasses.replace(boxes[name], x=x + _MARGIN, y=_top(row)) for name, (x, row) in placed.nodes.items()]
    titles = {pair: f"{pair[0]} → {pair[1]}: {', '.join(sorted(found))}" for pair, found in paths.items()}
    arrows = list(_arrows(placed.edges, {pair: sum(found.values()) for pair, found in rows.items()}, titles))
    height = _top(placed.num_layers - 1) + _HEIGHT + _MARGIN
    return Drawing(made, arrows, placed.width + 2 * _MARGIN, height)


def _boxes(nodes: Mapping[str, Any], roots: Iterable[str]) -> dict[str, str]:
    """Returns {stage instance or root: name of its box}."""
    sizes = Counter(node["stage"] for node in nodes.values())
    folders = Counter(path.rpartition("/")[0] for path in roots)
    found = {name: node["stage"] if sizes[node["stage"]] > MAX_INSTANCES else name for name, node in nodes.items()}
    for path in roots:
        folder = path.rpartition("/")[0]
        found[path] = f"{folder}/…" if folders[folder] > MAX_INSTANCES else path
    return found


def _rows(nodes: Mapping[str, Any], producer: str, reader: str) -> int:
    """Returns how many rows went: those the producer kept; of a URL list, those that were read of it."""
    if producer in nodes:
        return int(nodes[producer]["counts"].get("kept", 0))
    counts = nodes[reader]["counts"]
    return int(counts.get("rows_in", 0)) if nodes[reader]["stage"] == "source" else 0


def _box(name: str, nodes: Mapping[str, Any], box_of: Mapping[str, str]) -> Node:
    inside = [node for instance, node in nodes.items() if box_of[instance] == name]
    if not inside:
        return Node(0, 0, max(len(name) * _CHAR + 16, 60), name, "", "", "root")
    stage = inside[0]["stage"]
    single = "" if inside[0]["instance"] == "all" else str(inside[0]["instance"])
    instance = single if len(inside) == 1 else f"× {len(inside)}"
    rows_in, kept = (sum(int(node["counts"].get(key, 0)) for node in inside) for key in ("rows_in", "kept"))
    note = f"{kept:,} of {rows_in:,}" if rows_in and rows_in != kept else f"{kept:,}"
    width = max(_WIDTH, (len(stage) + len(instance) + 1) * _CHAR + 24)
    return Node(0, 0, width, stage, instance, note, "model" if stage in _MODEL_STAGES else "data")


def _top(row: int) -> float:
    return _MARGIN + row * _STEP


def _arrows(
    edges: Mapping[tuple[str, str], list[tuple[float, int]]],
    counts: Mapping[tuple[str, str], int],
    titles: Mapping[tuple[str, str], str],
) -> Iterable[Arrow]:
    taken: list[Point] = []
    for pair, bends in edges.items():
        points = [(x + _MARGIN, row) for x, row in bends]
        path, curves = f"M{points[0][0]:g},{_top(points[0][1]) + _HEIGHT:g}", []
        for number, ((x, row), (next_x, next_row)) in enumerate(pairwise(points), 1):
            start, end = _top(row) + _HEIGHT, _top(next_row) - (4 if number == len(points) - 1 else 0)
            curves.append(((x, start), (next_x, end)))
            middle = (start + end) / 2
            path += f"C{x:g},{middle:g} {next_x:g},{middle:g} {next_x:g},{end:g}"
            if number < len(points) - 1:
                path += f"V{_top(next_row) + _HEIGHT:g}"
        label = f"{counts[pair]:,}" if counts[pair] else ""
        x, y = _label(curves, len(label) * _LABEL_CHAR, taken) if label else (0.0, 0.0)
        yield Arrow(path, label, x, y, titles[pair])


def _label(curves: list[tuple[Point, Point]], width: float, taken: list[Point]) -> Point:
    """Returns where on an edge its count covers no other, and takes that place."""
    places = [_along(*curve, t) for curve in curves for t in _LABEL_PLACES]
    free = (
        (x, y)
        for x, y in places
        if all(abs(x - other_x) > width + 4 or abs(y - other_y) > _LABEL_HEIGHT for other_x, other_y in taken)
    )
    place = next(free, places[0])
    taken.append(place)
    return round(place[0], 1), round(place[1] + 4, 1)


def _along(start: Point, end: Point, t: float) -> Point:
    """Returns a point of the edge's curve, a cubic whose control points stand halfway down."""
    across = 3 * t * t - 2 * t**3
    down = 3 * t * (1 - t) * 0.5 + t**3
    return start[0] + (end[0] - start[0]) * across, start[1] + (end[1] - start[1]) * down
