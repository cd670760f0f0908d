"""Cosines between many vectors, the same on any number of threads and in blocks of any size.

A float32 product of matrices differs in its last bits with the block and the number of threads, and a bare comparison
would pass that on. So float32 only proposes, with a margin for its error; what is near a decision is computed again
in float64 and rounded to 6 decimals. Rounding alone would not do: it moves the edge, it does not remove it. In
float64 the error (1e-15) is a billion times smaller than the rounding step, so that none is met in practice.

Letters in names: N rows, M others, D embedding, P pairs. Vectors are L2-normalised, float16 or float32.
"""

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float16] | npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]
Cosines = npt.NDArray[np.float64]

DECIMALS = 6
"""Of every cosine that is returned or compared; vectors kept as float16 carry 3 to 4."""
MARGIN = 1e-5
"""More than the error of a float32 cosine of up to 4096 dimensions and the rounding step together."""

_BLOCK_PRODUCTS = 1 << 23  # cosines in one block: 32 MB


def of_pairs(left_ND: Vectors, right_MD: Vectors, i: Index, j: Index) -> Cosines:
    """Returns the cosines of pairs (row i of left, row j of right): (P,) float64, rounded to 6 decimals."""
    found = np.empty(len(i), np.float64)
    step = max(_BLOCK_PRODUCTS // max(left_ND.shape[1], 1) // 4, 1)
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        left, right = left_ND[i[part]].astype(np.float64), right_MD[j[part]].astype(np.float64)
        found[part] = np.einsum("pd,pd->p", left, right)
    return np.round(found, DECIMALS) + 0.0  # no negative zero


def nearest(vectors_ND: Vectors, others_MD: Vectors) -> tuple[Cosines, Index]:
    """Returns for each vector its greatest cosine to any of the others, and which one that is.

    Returns:
        cosine (N,) float64, rounded to 6 decimals; index (N,) int64, the first of equals. -1 and -1 if M is 0.
    """
    cosine_N, index_N = np.full(len(vectors_ND), -1.0), np.full(len(vectors_ND), -1, np.int64)
    if not len(others_MD):
        return cosine_N, index_N
    others = others_MD.astype(np.float32)
    for rows in blocks(len(vectors_ND), len(others)):
        products = vectors_ND[rows].astype(np.float32) @ others.T
        i, j = np.nonzero(products >= products.max(axis=1, keepdims=True) - MARGIN)
        cosine = of_pairs(vectors_ND[rows], others_MD, i, j)
        order = np.lexsort((j, -cosine, i))
        first = order[np.unique(i[order], return_index=True)[1]]
        cosine_N[rows], index_N[rows] = cosine[first], j[first]
    return cosine_N, index_N


def at_least(vectors_ND: Vectors, others_MD: Vectors, min_cosine: float) -> tuple[Index, Index, Cosines]:
    """Returns every pair (row of vectors, row of others) whose cosine is at least `min_cosine`, sorted.

    One block: the caller bounds N x M. Returns i and j (P,) int64 and cosine (P,) float64, rounded to 6 decimals.
    """
    products = vectors_ND.astype(np.float32) @ others_MD.astype(np.float32).T
    i, j = np.nonzero(products >= min_cosine - MARGIN)
    cosine = of_pairs(vectors_ND, others_MD, i, j)
    near = cosine >= min_cosine
    return i[near], j[near], cosine[near]


def blocks(num_rows: int, num_others: int) -> list[slice]:
    """Returns slices of the rows, each of which makes a block of bounded size with all the others."""
    step = max(_BLOCK_PRODUCTS // max(num_others, 1), 1)
    return [slice(start, start + step) for start in range(0, num_rows, step)]
