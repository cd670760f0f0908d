import itertools

import pytest

from lineage.site.layers import layout

EDGES = [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), ("e", "d"), ("a", "c")]
WIDTHS = dict.fromkeys("abcde", 40.0)


def test_a_reader_stands_below_all_it_reads() -> None:
    found = layout(WIDTHS, EDGES, gap=10, bend=5)
    depth = {name: row for name, (_, row) in found.nodes.items()}
    assert depth == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 2}, "e, that reads nothing, right above its reader"
    assert found.num_layers == 4


def test_edges_pass_every_layer_between_their_ends() -> None:
    found = layout(WIDTHS, EDGES, gap=10, bend=5)
    for (producer, reader), bends in found.edges.items():
        assert bends[0] == found.nodes[producer]
        assert bends[-1] == found.nodes[reader]
        assert [row for _, row in bends] == list(range(bends[0][1], bends[-1][1] + 1))


def test_nothing_overlaps_and_all_is_inside() -> None:
    names = [f"n{number}" for number in range(30)]
    edges = [(one, other) for one, other in itertools.combinations(names, 2) if (hash_of(one, other)) % 5 == 0]
    found = layout(dict.fromkeys(names, 50.0), edges, gap=8, bend=4)
    by_row: dict[int, list[float]] = {}
    for x, row in found.nodes.values():
        assert 25 <= x <= found.width - 25
        by_row.setdefault(row, []).append(x)
    for places in by_row.values():
        ordered = sorted(places)
        assert all(right - left >= 58 - 0.1 for left, right in itertools.pairwise(ordered))


def test_equal_graphs_are_placed_alike() -> None:
    shuffled = layout(dict(reversed(WIDTHS.items())), reversed([*EDGES, EDGES[0]]), gap=10, bend=5)
    assert shuffled == layout(WIDTHS, EDGES, gap=10, bend=5)


def test_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="cycle at c"):
        layout(WIDTHS, [("c", "d"), ("d", "c"), ("a", "b")], gap=10, bend=5)


def test_an_empty_graph_is_no_error() -> None:
    assert layout({}, [], gap=10, bend=5).num_layers == 0


def hash_of(one: str, other: str) -> int:
    return int(one[1:]) * 7 + int(other[1:]) * 13
