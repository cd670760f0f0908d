"""Places nodes of a graph without cycles in layers, few edges crossing: the layout of a DAG's picture.

Sugiyama's steps: layers by the longest path, long edges broken by bends, order by barycentres, then places as near to
the neighbours' mean as the widths allow.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

_SWEEPS = 24
Edge = tuple[str, str]


@dataclasses.dataclass(slots=True)
class _Item:
    """A node, or a bend of an edge that passes its layer."""

    width: float
    x: float = 0.0
    above: list["_Item"] = dataclasses.field(default_factory=list)
    below: list["_Item"] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand: x from 0 to `width`, layers counted from the top."""

    nodes: dict[str, tuple[float, int]]
    """Centre and layer of each node."""
    edges: dict[Edge, list[tuple[float, int]]]
    """The bends of each edge with both its ends."""
    width: float
    num_layers: int


def layout(widths: Mapping[str, float], edges: Iterable[Edge], gap: float, bend: float) -> Layout:
    """Returns where nodes and edges stand; equal graphs are placed alike.

    Args:
        widths: of each node.
        edges: from producer to reader.
        gap: least space between neighbours.
        bend: width that an edge takes up where it passes a layer.
    """
    ordered = sorted(set(edges))
    depth = _depths(sorted(widths), ordered)
    rows: list[list[_Item]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    items = {name: _Item(widths[name]) for name in sorted(widths)}
    for name, item in items.items():
        rows[depth[name]].append(item)
    chains = {edge: _chain(edge, items, depth, rows, bend) for edge in ordered}
    for sweep in range(_SWEEPS):
        _sweep(rows, gap, is_downwards=sweep % 2 == 0, is_ordering=sweep < _SWEEPS // 2)
    left = min((item.x - item.width / 2 for row in rows for item in row), default=0.0)
    right = max((item.x + item.width / 2 for row in rows for item in row), default=0.0)
    bends = {
        edge: [(round(item.x - left, 1), depth[edge[0]] + step) for step, item in enumerate(chain)]
        for edge, chain in chains.items()
    }
    nodes = {name: (round(item.x - left, 1), depth[name]) for name, item in items.items()}
    return Layout(nodes, bends, round(right - left, 1), len(rows))


def _depths(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Returns the layer of each node: below all it reads; what reads nothing stands right above its first reader."""
    readers: dict[str, list[str]] = {name: [] for name in names}
    missing = dict.fromkeys(names, 0)
    for producer, reader in edges:
        readers[producer].append(reader)
        missing[reader] += 1
    roots = [name for name in names if not missing[name]]
    depth = dict.fromkeys(names, 0)
    ready = list(roots)
    for name in ready:
        for reader in readers[name]:
            depth[reader] = max(depth[reader], depth[name] + 1)
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    if len(ready) < len(names):
        raise ValueError(f"the graph has a cycle at {min(set(names) - set(ready))}")
    for name in roots:
        depth[name] = min((depth[reader] for reader in readers[name]), default=1) - 1
    return depth


def _chain(
    edge: Edge, items: Mapping[str, _Item], depth: Mapping[str, int], rows: list[list[_Item]], bend: float
) -> list[_Item]:
    bends = [_Item(bend) for _ in range(depth[edge[1]] - depth[edge[0]] - 1)]
    for step, item in enumerate(bends, 1):
        rows[depth[edge[0]] + step].append(item)
    chain = [items[edge[0]], *bends, items[edge[1]]]
    for upper, lower in pairwise(chain):
        upper.below.append(lower)
        lower.above.append(upper)
    return chain


def _sweep(rows: list[list[_Item]], gap: float, *, is_downwards: bool, is_ordering: bool) -> None:
    for row in rows if is_downwards else reversed(rows):
        wanted = {id(item): _wanted(item, is_downwards) for item in row}
        if is_ordering:
            row.sort(key=lambda item: wanted[id(item)])
        for item, x in zip(row, _apart([wanted[id(item)] for item in row], [i.width for i in row], gap), strict=True):
            item.x = x


def _wanted(item: _Item, is_downwards: bool) -> float:
    near = (item.above if is_downwards else item.below) or (item.below if is_downwards else item.above)
    return fmean(other.x for other in near) if near else item.x


def _apart(wanted: Sequence[float], widths: Sequence[float], gap: float) -> list[float]:
    """Returns the places nearest to those wanted (least squares) at which nothing overlaps, in the given order."""
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + gap)
    blocks: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=False):
        mean, size = place - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    means = [mean for mean, size in blocks for _ in range(size)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=False)]
