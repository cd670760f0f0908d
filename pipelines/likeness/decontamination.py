"""How near each picture is to the nearest of some evaluation pictures, by perceptual hash and by embedding.

Both searches are exact and both say which evaluation picture it was, so that a verdict can name it. Rows are judged
alone: no other row changes what is found.

Letters in names: N rows, M evaluation pictures, D embedding.
"""

import numpy as np
import numpy.typing as npt

from pipelines.likeness import cosines, hamming
from pipelines.likeness.cosines import Vectors
from pipelines.likeness.hamming import Confirm, Hashes, Index


def nearest_hash(
    hashes_N: Hashes, tests_M: Hashes, max_distance: int, *, confirm: Confirm | None = None
) -> tuple[Index, Index]:
    """Returns for each hash the distance in bits to the nearest test hash, and which one that is.

    Args:
        hashes_N: (N,) uint64.
        tests_M: (M,) uint64.
        max_distance: bits, 0..24; what lies farther is not looked for.
        confirm: says of pairs (row, test), near by their hashes, which look alike indeed: the hash sees no colour.

    Returns:
        distance and index (N,) int64, the first of equally near ones; -1 and -1 where none is within max_distance.

    Raises:
        ValueError: if max_distance is out of range.
    """
    if confirm is not None:
        return _nearest(hashes_N, tests_M, np.arange(len(tests_M)), max_distance, confirm)
    values, of_row = np.unique(hashes_N, return_inverse=True)  # of equal hashes, blank pictures say, one is enough
    tests, first = np.unique(tests_M, return_index=True)
    distance_V, index_V = _nearest(values, tests, first, max_distance, None)
    return distance_V[of_row], index_V[of_row]


def nearest_vector(vectors_ND: Vectors, tests_MD: Vectors) -> tuple[npt.NDArray[np.float64], Index]:
    """Returns for each picture its greatest cosine to any test picture, and which one that is.

    Args:
        vectors_ND: (N, D) float16 or float32, L2-normalised.
        tests_MD: (M, D), the same.

    Returns:
        cosine (N,) float64, rounded to 6 decimals; index (N,) int64, the first of equals. -1 and -1 if M is 0.
    """
    return cosines.nearest(vectors_ND, tests_MD)


def _nearest(
    hashes_N: Hashes, tests_M: Hashes, index_M: Index, max_distance: int, confirm: Confirm | None
) -> tuple[Index, Index]:
    """Returns distance to and index of the nearest test, the smallest index of equally near ones, or -1 and -1."""
    far = np.iinfo(np.int64).max
    num_indices = int(index_M.max(initial=0)) + 1
    best_N = np.full(len(hashes_N), far)
    for i, j, distance in hamming.pair_blocks(hashes_N, max_distance, tests_M):
        sure = slice(None) if confirm is None else confirm(i, j)
        np.minimum.at(best_N, i[sure], distance[sure].astype(np.int64) * num_indices + index_M[j[sure]])
    distance_N, index_N = np.divmod(best_N, num_indices)
    return np.where(best_N == far, -1, distance_N), np.where(best_N == far, -1, index_N)
