"""near finds every pair of look-alikes, and lets the oldest stay: pipelines/likeness/near.py."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.likeness import near


@st.composite
def hashes(draw: st.DrawFn, max_size: int = 70) -> np.ndarray:
    """Hashes that crowd: few places, few bits apart, many equal."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, draw(st.sampled_from([3, 12, 63]))), max_size=8)
    rows = draw(st.lists(st.tuples(st.sampled_from(centres), flips), max_size=max_size))
    return np.array([centre ^ sum(1 << bit for bit in set(bits)) for centre, bits in rows], np.uint64)


def test_pairs_are_sorted_and_say_how_far() -> None:
    i, j, distance = near.pairs_within(np.array([0b1111, 0, 0b0111, 1 << 63, 0], np.uint64), 3)
    assert list(zip(i, j, distance, strict=True)) == [(0, 2, 1), (1, 2, 3), (1, 3, 1), (1, 4, 0), (2, 4, 3), (3, 4, 1)]
    assert [str(column.dtype) for column in (i, j, distance)] == ["int64", "int64", "uint8"]


@given(hashes(), st.integers(0, 24))
@settings(deadline=None)
def test_pairs_are_those_of_brute_force(hashes_N: np.ndarray, max_distance: int) -> None:
    i, j, distance = near.pairs_within(hashes_N, max_distance)
    assert list(zip(i, j, distance, strict=True)) == brute_force(hashes_N, max_distance)


@given(hashes(30), hashes(30), st.integers(0, 24))
@settings(deadline=None)
def test_pairs_with_another_set_are_those_of_brute_force(first: np.ndarray, second: np.ndarray, most: int) -> None:
    i, j, distance = near.pairs_within(first, most, against_M=second)
    both = brute_force(np.concatenate([first, second]), most)
    across = [(a, b - len(first), bits) for a, b, bits in both if a < len(first) <= b]
    assert list(zip(i, j, distance, strict=True)) == across


def test_a_row_goes_only_for_a_row_that_stays() -> None:
    """In a chain 0 - 1 - 2 - 3 the second goes for the first, the third stays: what it looks like is gone."""
    assert near.survivors(np.arange(4), np.array([0, 1, 2]), np.array([1, 2, 3])).tolist() == [-1, 0, -1, 2]


def test_the_smallest_rank_is_named_whatever_the_order_of_pairs() -> None:
    rank = np.array([30, 10, 20])
    assert near.survivors(rank, np.array([0, 0]), np.array([2, 1])).tolist() == [1, -1, -1]
    assert near.survivors(rank, np.array([2, 1]), np.array([0, 0])).tolist() == [1, -1, -1]


def test_fixed_rows_stay_though_they_are_a_pair_and_still_drop_others() -> None:
    fixed = np.array([True, True, False])
    assert near.survivors(np.arange(3), np.array([0, 1]), np.array([1, 2]), fixed_N=fixed).tolist() == [-1, -1, 1]
    hashes_N = np.array([0b0001, 0b0000, 0b0000], np.uint64)
    assert near.near_duplicates(hashes_N, np.arange(3), 1, fixed_N=fixed).tolist() == [-1, -1, 0]
    assert near.near_duplicates(hashes_N, np.arange(3), 0, fixed_N=fixed).tolist() == [-1, -1, 1]


@given(hashes(), st.integers(0, 24), st.data())
@settings(deadline=None)
def test_near_duplicates_are_the_greedy_choice(hashes_N: np.ndarray, max_distance: int, data: st.DataObject) -> None:
    num_fixed = data.draw(st.integers(0, len(hashes_N)))
    rank_N = np.array(data.draw(st.permutations(range(len(hashes_N)))), np.int64)
    fixed_N = rank_N < num_fixed
    found = near.near_duplicates(hashes_N, rank_N, max_distance, fixed_N=fixed_N)
    assert found.tolist() == plain_greedy(hashes_N, rank_N, max_distance, fixed_N)
    i, j, _ = near.pairs_within(hashes_N, max_distance)
    assert near.survivors(rank_N, i, j, fixed_N=fixed_N).tolist() == found.tolist()


@pytest.mark.parametrize("most", [0, 1, 7, 100])
def test_deciding_in_halves_changes_nothing(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    random = np.random.default_rng(1)
    hashes_N = random.integers(0, 1 << 9, 300).astype(np.uint64) << np.uint64(20)
    rank_N = random.permutation(300)
    expected = near.near_duplicates(hashes_N, rank_N, 2)
    monkeypatch.setattr(near, "_MAX_LISTED", most)
    assert near.near_duplicates(hashes_N, rank_N, 2).tolist() == expected.tolist()
    assert expected.tolist() == plain_greedy(hashes_N, rank_N, 2, np.zeros(300, bool))


@given(hashes(), hashes(30), st.integers(0, 12))
@settings(deadline=None)
def test_later_rows_change_nothing_before_them(first: np.ndarray, later: np.ndarray, most: int) -> None:
    alone = near.near_duplicates(first, np.arange(len(first)), most)
    both = np.concatenate([first, later])
    assert near.near_duplicates(both, np.arange(len(both)), most)[: len(first)].tolist() == alone.tolist()
    kept = first[alone < 0]  # as the next snapshot meets them: kept rows only, fixed
    folded = np.concatenate([kept, later])
    fixed = np.arange(len(folded)) < len(kept)
    duplicate_of = near.near_duplicates(folded, np.arange(len(folded)), most, fixed_N=fixed)
    places = np.concatenate([np.flatnonzero(alone < 0), len(first) + np.arange(len(later))])
    expected = near.near_duplicates(both, np.arange(len(both)), most)[len(first) :]
    found = duplicate_of[len(kept) :]
    assert [-1 if row < 0 else places[row] for row in found] == expected.tolist()


@given(hashes(), st.integers(0, 12), st.integers(2, 4), st.integers(0, 5))
@settings(deadline=None)
def test_only_confirmed_pairs_count(hashes_N: np.ndarray, most: int, num_colours: int, num_fixed: int) -> None:
    colour_N = np.arange(len(hashes_N)) % num_colours
    fixed_N = np.arange(len(hashes_N)) < num_fixed
    found = near.near_duplicates(
        hashes_N, np.arange(len(hashes_N)), most, fixed_N=fixed_N, confirm=lambda i, j: colour_N[i] == colour_N[j]
    )
    i, j, _ = near.pairs_within(hashes_N, most)
    same = colour_N[i] == colour_N[j]
    expected = near.survivors(np.arange(len(hashes_N)), i[same], j[same], fixed_N=fixed_N)
    assert found.tolist() == expected.tolist()


def test_crowds_of_look_alikes_take_little_memory() -> None:
    """10 000 hashes in a ball of diameter 6, each twice, are 200 million pairs: 3 GB, were they listed."""
    random = np.random.default_rng(2)
    bits = np.uint64(1) << random.integers(0, 64, (3, 10_000)).astype(np.uint64)
    hashes_N = np.tile(bits[0] ^ bits[1] ^ bits[2], 2)
    assert len(np.unique(hashes_N)) > 8000
    tracemalloc.start()
    duplicate_of = near.near_duplicates(hashes_N, np.arange(20_000), 6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (duplicate_of < 0).sum() == 1
    assert peak < 400 << 20


def test_nothing_to_compare_is_no_error() -> None:
    none = np.empty(0, np.uint64)
    assert [len(column) for column in near.pairs_within(none, 3)] == [0, 0, 0]
    assert [len(column) for column in near.pairs_within(none, 3, against_M=np.ones(2, np.uint64))] == [0, 0, 0]
    assert near.near_duplicates(none, np.empty(0, np.int64), 3).tolist() == []


def test_ranks_must_be_a_total_order_with_the_fixed_rows_first() -> None:
    with pytest.raises(ValueError, match="two rows have the same rank"):
        near.survivors(np.array([1, 1]), np.array([0]), np.array([1]))
    with pytest.raises(ValueError, match="oldest first"):
        near.near_duplicates(np.zeros(2, np.uint64), np.arange(2), 1, fixed_N=np.array([False, True]))


def brute_force(hashes_N: np.ndarray, max_distance: int) -> list[tuple[int, int, int]]:
    values = hashes_N.tolist()
    pairs = itertools.combinations(range(len(values)), 2)
    distances = [(i, j, (values[i] ^ values[j]).bit_count()) for i, j in pairs]
    return [pair for pair in distances if pair[2] <= max_distance]


def plain_greedy(hashes_N: np.ndarray, rank_N: np.ndarray, most: int, fixed_N: np.ndarray) -> list[int]:
    """The rule as it is said: in order of rank, a row goes for the first staying row that is near."""
    stays: list[int] = []
    values, duplicate_of = hashes_N.tolist(), [-1] * len(hashes_N)
    for row in np.argsort(rank_N).tolist():
        near_rows = [other for other in stays if (values[row] ^ values[other]).bit_count() <= most]
        if near_rows and not fixed_N[row]:
            duplicate_of[row] = near_rows[0]
        else:
            stays.append(row)
    return duplicate_of
