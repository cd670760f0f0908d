"""Every pair of 64-bit hashes within a Hamming distance, exactly.

Hashes that differ in at most d bits, cut into d + k bands, agree on at least k of the bands (pigeonhole); so rows are
grouped by each choice of k bands and compared inside the groups only. A pair is reported by the first choice it
agrees on, so that no pair comes twice and none needs to be remembered. At worst, where every hash agrees with every
other on most bands and they are still far apart, this is d + 1 comparisons of all with all.

Letters in names: N rows, M rows of another set, P pairs.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator

import faiss
import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Index = npt.NDArray[np.int64]
Pairs = tuple[Index, Index, npt.NDArray[np.uint8]]

Confirm = Callable[[Index, Index], npt.NDArray[np.bool_]]
"""Says of pairs of rows (i, j), near by their hashes, which are pairs indeed."""

MAX_DISTANCE = 24
"""Bits; two unrelated pictures differ in about 32 of 64, one pair in 30 in 24 or fewer."""

_NUM_BITS = 64
_ALL_BITS = (1 << _NUM_BITS) - 1
_SMALL_GROUP = 48  # rows; smaller groups are compared together in numpy, larger ones each by faiss
_BLOCK_PAIRS = 1 << 22  # comparisons of one faiss call: bounds what it answers, 12 bytes a pair, to 50 MB
_MAX_BAND_CHOICES = 256
_HALF_WORD_BITS = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)


def pair_blocks(hashes_N: Hashes, max_distance: int, against_M: Hashes | None = None) -> Iterator[Pairs]:
    """Yields every pair within `max_distance` once, in blocks of bounded size and no order that means anything.

    Args:
        hashes_N: (N,) uint64.
        max_distance: bits, 0..24.
        against_M: (M,) uint64; pairs are then (row of hashes_N, row of against_M). Without it i < j, both of hashes_N.

    Yields:
        i and j (P,) int64, distance (P,) uint8.

    Raises:
        ValueError: if max_distance is out of range.
    """
    check_distance(max_distance)
    if against_M is not None and not (len(hashes_N) and len(against_M)):
        return
    hashes = hashes_N if against_M is None else np.concatenate([hashes_N, against_M])
    num_left = None if against_M is None else len(hashes_N)
    masks = _best_masks(hashes, max_distance)
    for place, mask in enumerate(masks):
        for i, j, distance in _pairs_by_mask(hashes, mask, max_distance, num_left):
            first = is_first(hashes[i] ^ hashes[j], masks[:place])
            yield i[first], j[first] - (num_left or 0), distance[first]


def band_masks(max_distance: int, *, num_matched: int = 1, bits: int = _ALL_BITS) -> list[int]:
    """Returns the masks of 64 bits on one of which any two hashes within `max_distance` agree.

    Args:
        max_distance: bits, 0..24.
        num_matched: bands in one mask, of max_distance + num_matched in all: more make more masks and smaller groups.
        bits: the bits that are cut into bands; only those that every hash has alike may be left out.
    """
    places = [place for place in range(_NUM_BITS) if bits >> place & 1]
    num_bands = check_distance(max_distance) + num_matched
    # Every num_bands-th bit, not neighbours: neighbouring frequencies vary together, and bands should not.
    bands = [sum(1 << place for place in places[first::num_bands]) for first in range(num_bands)]
    return [sum(choice) for choice in itertools.combinations(bands, num_matched)]


def check_distance(max_distance: int) -> int:
    """Returns `max_distance` unchanged.

    Raises:
        ValueError: if it is not 0 to 24 bits.
    """
    if not 0 <= max_distance <= MAX_DISTANCE:
        raise ValueError(f"max_distance must be 0 to {MAX_DISTANCE} bits, not {max_distance}")
    return max_distance


def is_first(xor_P: Hashes, earlier_masks: list[int]) -> npt.NDArray[np.bool_]:
    """Returns which pairs, given by their XOR, agree on none of the earlier masks: (P,) bool."""
    first = np.ones(len(xor_P), bool)
    for mask in earlier_masks:
        first &= (xor_P & np.uint64(mask)) != 0
    return first


def _best_masks(hashes: Hashes, max_distance: int) -> list[int]:
    """Returns the band masks that cost least for so many hashes, were their bits independent; any are exact."""
    if not len(hashes):
        return []
    bits = int(np.bitwise_or.reduce(hashes ^ hashes[0]))
    best = min(range(4), key=lambda num_matched: _cost_s(len(hashes), max_distance, num_matched, bits.bit_count()))
    return band_masks(max_distance, num_matched=best, bits=bits)


def _cost_s(num_rows: int, max_distance: int, num_matched: int, num_bits: int) -> float:
    """Returns a rough time: to sort 50 ns a row, a faiss call 30 us, a pair in it 0.3 ns, a pair in numpy 30 ns."""
    num_bands = max_distance + num_matched
    choices = math.comb(num_bands, num_matched)
    if choices > _MAX_BAND_CHOICES:
        return math.inf
    group = max(num_rows / 2 ** (num_bits * num_matched / max(num_bands, 1)), 1)
    compare = group / 2 * 30e-9 if group < _SMALL_GROUP else group * 0.3e-9 + 30e-6 / group
    return choices * num_rows * (50e-9 + compare)


def _pairs_by_mask(hashes: Hashes, mask: int, max_distance: int, num_left: int | None) -> Iterator[Pairs]:
    """Yields the pairs within max_distance that agree on a mask; `num_left` parts the rows into left and right."""
    keys = hashes & np.uint64(mask)
    order = np.argsort(keys).astype(np.int64)
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    sizes = np.diff(np.append(starts, len(keys)))
    small = (sizes > 1) & (sizes < _SMALL_GROUP)
    yield from _small_groups(hashes, order, starts[small], sizes[small], max_distance, num_left)
    for start, size in zip(starts[sizes >= _SMALL_GROUP], sizes[sizes >= _SMALL_GROUP], strict=True):
        yield from _large_group(hashes, np.sort(order[start : start + size]), max_distance, num_left)


def _small_groups(
    hashes: Hashes, order: Index, starts: Index, sizes: Index, max_distance: int, num_left: int | None
) -> Iterator[Pairs]:
    """Yields the pairs of all small groups: each row against the next of its group, the next but one, and so on."""
    ends = np.repeat(starts + sizes, sizes)
    places = np.arange(len(ends)) + np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    for step in range(1, int(sizes.max(initial=1))):
        inside = places + step < ends
        places, ends = places[inside], ends[inside]
        i, j = np.minimum(order[places], order[places + step]), np.maximum(order[places], order[places + step])
        if num_left is not None:
            across = (i < num_left) & (j >= num_left)
            i, j = i[across], j[across]
        distance = _popcount(hashes[i] ^ hashes[j])
        near = distance <= max_distance
        yield i[near], j[near], distance[near]


def _large_group(hashes: Hashes, rows: Index, max_distance: int, num_left: int | None) -> Iterator[Pairs]:
    """Yields the pairs of one group, `rows` ascending, a block of its rows at a time."""
    left, right = (rows, rows) if num_left is None else (rows[rows < num_left], rows[rows >= num_left])
    if not len(left) or not len(right):
        return
    step = max(_BLOCK_PAIRS // len(right), 1)
    for start in range(0, len(left), step):
        queries = left[start : start + step]
        base = right if num_left is not None else right[start:]  # those before have met these already
        i, j, distance = _compare(hashes, queries, base, max_distance)
        after = i < j
        yield i[after], j[after], distance[after]


def _compare(hashes: Hashes, queries: Index, base: Index, max_distance: int) -> Pairs:
    """Returns every pair of a query and a base row within max_distance."""
    index = faiss.IndexBinaryFlat(_NUM_BITS)
    index.add(_as_bytes(hashes[base]))
    with _one_thread():
        bounds, distance, found = index.range_search(_as_bytes(hashes[queries]), max_distance + 1)
    num_found = np.diff(bounds.astype(np.int64))
    return np.repeat(queries, num_found), base[found.astype(np.int64)], distance.astype(np.uint8)


def _as_bytes(words: Hashes) -> npt.NDArray[np.uint8]:
    octets: npt.NDArray[np.uint8] = words.view(np.uint8).reshape(-1, _NUM_BITS // 8)
    return octets


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps faiss from starting threads: for small groups, on a busy machine, they cost 1000 times the work."""
    num_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(num_threads)


def _popcount(words: Hashes) -> npt.NDArray[np.uint8]:
    """Returns the number of set bits of each 64-bit word (numpy 1 has no bitwise_count)."""
    bits: npt.NDArray[np.uint8] = _HALF_WORD_BITS[words.view(np.uint16)].reshape(-1, 4).sum(axis=1, dtype=np.uint8)
    return bits
