"""Near-duplicate pictures by their 64-bit perceptual hashes: which pairs look alike, and who stays.

Of N equal hashes there are N^2 / 2 pairs, and of N hashes of blank pictures nearly as many. `pairs_within` lists them
all, as it says; `near_duplicates` decides who stays without ever listing them.

Letters in names: N rows, M rows of another set, P pairs.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from pipelines.likeness import hamming
from pipelines.likeness.hamming import Confirm, Hashes, Index, Pairs

Rows = npt.NDArray[np.bool_]
PairFinder = Callable[[Index, Index | None], Iterator[tuple[Index, Index]]]
"""Called with rows and others, it yields blocks of every pair (place in rows, place in others) that look alike, in any
order; with None for others, of every pair of places in rows, either way round. A pair may come twice."""

_MAX_LISTED = 1 << 22  # pairs that are listed at once: 100 MB


def pairs_within(hashes_N: Hashes, max_distance: int, *, against_M: Hashes | None = None) -> Pairs:
    """Returns every pair of rows whose hashes differ in at most `max_distance` bits, sorted by (i, j).

    Args:
        hashes_N: (N,) uint64.
        max_distance: bits, 0..24.
        against_M: (M,) uint64; pairs are then (row of hashes_N, row of against_M). Without it i < j, both of hashes_N.

    Returns:
        i and j (P,) int64, distance (P,) uint8. The memory is that of the answer: equal hashes give all their pairs,
        so collapse them first where there may be many, or call `near_duplicates`.

    Raises:
        ValueError: if max_distance is out of range.
    """
    blocks = list(hamming.pair_blocks(hashes_N, max_distance, against_M))
    i, j, distance = (np.concatenate(column) for column in zip(*([_no_pairs(), *blocks]), strict=True))
    order = np.lexsort((j, i))
    return i[order], j[order], distance[order]


def survivors(rank_N: Index, i: Index, j: Index, *, fixed_N: Rows | None = None) -> Index:
    """Returns for each row the row it is a duplicate of, or -1 where it stays: (N,) int64.

    Greedy, in ascending rank: a row goes iff it is paired with a row of smaller rank that stays, and names the
    smallest-ranked of those. So no chain of look-alikes drags a row out that looks like nothing kept, and rows of
    greater rank never change what becomes of those before them.

    Args:
        rank_N: (N,) int64, no two alike.
        i: (P,) int64, one row of each pair, in any order.
        j: (P,) int64, the other.
        fixed_N: rows that stay whatever they are paired with, such as those kept in earlier snapshots.

    Raises:
        ValueError: if two rows have the same rank.
    """
    by_rank = _by_rank(rank_N)
    place_N = np.empty_like(by_rank)
    place_N[by_rank] = np.arange(len(by_rank))
    fixed_N = np.zeros(len(rank_N), bool) if fixed_N is None else fixed_N
    keeper_N = _keepers(place_N[i], place_N[j], fixed_N[by_rank])
    return _original_rows(keeper_N, by_rank)


def duplicates(rank_N: Index, find_pairs: PairFinder, *, fixed_N: Rows | None = None) -> Index:
    """Returns what `survivors` returns over every pair there is, but never lists them all: (N,) int64.

    Where there are too many pairs, the rows of smaller rank are decided first, and what looks like those of them that
    stay is put aside before the rest is compared with itself: of a crowd of look-alikes hardly anything is left then.

    Args:
        rank_N: (N,) int64, no two alike.
        find_pairs: finds the look-alikes among some rows, or of some rows among others.
        fixed_N: rows that stay whatever they look like; their ranks must be below all others.

    Raises:
        ValueError: if two rows have the same rank, or a fixed row a rank above another's.
    """
    by_rank = _by_rank(rank_N)
    num_fixed = _num_fixed(fixed_N, by_rank)
    keeper = _decide_after(by_rank, np.arange(num_fixed, len(rank_N)), np.arange(num_fixed), find_pairs)
    return _original_rows(np.concatenate([np.full(num_fixed, -1, np.int64), keeper]), by_rank)


def near_duplicates(
    hashes_N: Hashes,
    rank_N: Index,
    max_distance: int,
    *,
    fixed_N: Rows | None = None,
    confirm: Confirm | None = None,
) -> Index:
    """Returns what `survivors` returns over every pair within `max_distance`, in bounded memory: (N,) int64.

    Args:
        hashes_N: (N,) uint64.
        rank_N: (N,) int64, no two alike.
        max_distance: bits, 0..24.
        fixed_N: rows that stay whatever they look like; their ranks must be below all others.
        confirm: says of pairs of rows (i, j), near by their hashes, which look alike indeed: the hash sees no colour.

    Raises:
        ValueError: if max_distance is out of range, two rows have the same rank, or a fixed row one above another's.
    """
    if confirm is not None:
        return duplicates(rank_N, _finder(hashes_N, max_distance, confirm), fixed_N=fixed_N)
    by_rank = _by_rank(rank_N)
    hashes, num_fixed = hashes_N[by_rank], _num_fixed(fixed_N, by_rank)
    kept, new = _distinct(hashes[:num_fixed], 0), _distinct(hashes[num_fixed:], num_fixed)
    keeper = _decide_after(np.arange(len(hashes)), new, kept, _finder(hashes, max_distance, None))
    return _original_rows(_spread(hashes, new, keeper, num_fixed), by_rank)


def _finder(hashes: Hashes, max_distance: int, confirm: Confirm | None) -> PairFinder:
    """Returns the search for pairs of hashes within a distance, confirmed if need be."""
    hamming.check_distance(max_distance)

    def find(rows: Index, others: Index | None) -> Iterator[tuple[Index, Index]]:
        against = None if others is None else hashes[others]
        for i, j, _ in hamming.pair_blocks(hashes[rows], max_distance, against):
            sure = slice(None) if confirm is None else confirm(rows[i], (rows if others is None else others)[j])
            yield i[sure], j[sure]

    return find


def _by_rank(rank_N: Index) -> Index:
    """Returns the rows in order of rank."""
    by_rank = np.argsort(rank_N, kind="stable")
    if (np.diff(rank_N[by_rank]) == 0).any():
        raise ValueError("two rows have the same rank; ranks must be a total order")
    return by_rank


def _num_fixed(fixed_N: Rows | None, by_rank: Index) -> int:
    num_fixed = 0 if fixed_N is None else int(fixed_N.sum())
    if fixed_N is not None and not fixed_N[by_rank[:num_fixed]].all():
        raise ValueError("a row kept before ranks above a new row; ranks must go by snapshot, oldest first")
    return num_fixed


def _original_rows(keeper_N: Index, by_rank: Index) -> Index:
    """Returns keepers, given by place in order of rank, by row."""
    duplicate_of_N = np.full(len(keeper_N), -1, np.int64)
    gone = np.flatnonzero(keeper_N >= 0)
    duplicate_of_N[by_rank[gone]] = by_rank[keeper_N[gone]]
    return duplicate_of_N


def _distinct(hashes: Hashes, offset: int) -> Index:
    """Returns the first place of each distinct hash, ascending."""
    _, first = np.unique(hashes, return_index=True)
    return np.sort(first).astype(np.int64) + offset


def _spread(hashes: Hashes, new: Index, keeper: Index, num_fixed: int) -> Index:
    """Returns the keeper of every row from those of the first row of each distinct hash."""
    keeper_N = np.full(len(hashes), -1, np.int64)
    if not len(new):
        return keeper_N
    order = np.argsort(hashes[new])
    group = order[np.searchsorted(hashes[new][order], hashes[num_fixed:])]
    first, of_first = new[group], keeper[group]
    rows = np.arange(num_fixed, len(hashes))
    keeper_N[num_fixed:] = np.where(of_first >= 0, of_first, np.where(rows == first, -1, first))
    return keeper_N


def _decide_after(rows: Index, new: Index, kept: Index, find_pairs: PairFinder) -> Index:
    """Returns the keeper of each of the places `new`, or -1, where the places `kept` stay and come before them.

    Places are in order of rank; rows[place] is what `find_pairs` knows them by.
    """
    keeper = np.full(len(new), len(rows), np.int64)
    for i, j in find_pairs(rows[new], rows[kept]) if len(new) and len(kept) else ():
        np.minimum.at(keeper, i, kept[j])
    left = np.flatnonzero(keeper == len(rows))
    keeper[left] = _decide(rows, new[left], find_pairs)
    return keeper


def _decide(rows: Index, new: Index, find_pairs: PairFinder) -> Index:
    """Returns the keeper of each of the places `new`, or -1: in halves where their pairs are too many to list."""
    pairs = _listed(find_pairs(rows[new], None))
    if pairs is not None:
        keeper = _keepers(*pairs, np.zeros(len(new), bool))
        return np.where(keeper < 0, keeper, new[keeper])
    early, late = np.array_split(new, 2)
    first = _decide(rows, early, find_pairs)
    return np.concatenate([first, _decide_after(rows, late, early[first < 0], find_pairs)])


def _listed(blocks: Iterator[tuple[Index, Index]]) -> tuple[Index, Index] | None:
    """Returns every pair, or None once they are too many to list."""
    found, num_found = [_no_pairs()[:2]], 0
    for block in blocks:
        found.append(block)
        num_found += len(block[0])
        if num_found > _MAX_LISTED:
            return None
    return np.concatenate([i for i, _ in found]), np.concatenate([j for _, j in found])


def _keepers(i: Index, j: Index, fixed: Rows) -> Index:
    """Returns the keeper of each place in order of rank: pairs by their later place find the earlier one decided."""
    before, after = np.minimum(i, j), np.maximum(i, j)
    order = np.lexsort((before, after))
    keeper = np.full(len(fixed), -1, np.int64).tolist()
    stays_anyway = fixed.tolist()
    for chunk in np.array_split(order, len(order) // (1 << 16) + 1):
        for first, second in zip(before[chunk].tolist(), after[chunk].tolist(), strict=True):
            if keeper[first] < 0 and keeper[second] < 0 and not stays_anyway[second]:
                keeper[second] = first
    return np.array(keeper, np.int64)


def _no_pairs() -> Pairs:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8)
