"""Backdoor samples as local outliers in the scorer's space (Huang et al., ICLR 2025, arXiv 2502.01385).

The score is DAO, the dimensionality-aware outlier score that the authors' code presents first, with their k = 16.
Over the k nearest reference rows o of a row q:

    DAO(q) = mean_o LID(o) * log(r(q) / r(o)),    LID(o) = -1 / mean_i log(d_i(o) / r(o))

where d_1..d_k are the distances of a row to its k nearest reference rows, r = d_k its k-distance and LID the maximum
likelihood estimate of the local intrinsic dimension. About 0 for a row as densely surrounded as its neighbours,
greater the lonelier it is. Without LID it is the logarithmic form of SLOF (Schubert et al. 2014).

What we could read of the paper: its abstract, the authors' project page and README, and their detectors' code; the
formula is from that code, not from a section of the paper. Its floor of distances and its bound of LID are ours.

What it can find: rows whose neighbourhood is sparser than their neighbours' own, as a trigger's few pictures are in
the space of an encoder that was trained on them; and as many harmless oddities, such as placeholder pictures.
What it cannot: a poison with more than k rows in the reference (they are each other's dense neighbourhood), a poison
that the encoder never learnt (a scorer trained elsewhere sees ordinary pictures), or one that lies among clean rows.
It looks at pictures, not at captions.

The reference is frozen with the first snapshot, so that a row's score depends on no later row.

Letters in names: N rows, R reference rows, D embedding, K nearest reference rows.
"""

import numpy as np
import numpy.typing as npt

from pipelines.likeness import cosines
from pipelines.likeness.cosines import Index, Vectors

Floats = npt.NDArray[np.float64]

_MIN_DISTANCE = 1e-3  # about what float16 does to a unit vector; equal pictures would else divide by 0
_MAX_LID = 100.0  # of rows whose k neighbours are all equally far, which have no finite estimate
_SPARE = 8  # candidates beyond k that float32 proposes, for its errors
_BLOCK_VALUES = 1 << 23


def outlier_score(vectors_ND: Vectors, reference_RD: Vectors, k: int) -> Floats:
    """Returns the DAO score of each row: (N,) float64, rounded to 6 decimals; the greater, the lonelier.

    Args:
        vectors_ND: (N, D) float16 or float32, of any length but 0. A row may stand in the reference, too: of reference
            rows that equal it, one is taken for itself and is no neighbour.
        reference_RD: (R, D), R > k.
        k: neighbours that count, >= 2; 16 in the authors' code.

    Raises:
        ValueError: if k is below 2 or the reference is too small for it.
    """
    if k < 2 or len(reference_RD) <= k:
        raise ValueError(f"an outlier score by k = {k} neighbours needs k >= 2 and more than {k} reference rows")
    reference = _unit(reference_RD)
    around_RK, _ = _neighbours(reference, reference, k)
    lid_R = 1 / np.maximum(-np.log(around_RK / around_RK[:, -1:]).mean(axis=1), 1 / _MAX_LID)
    near_NK, of_NK = _neighbours(_unit(vectors_ND), reference, k)
    lonelier_NK = np.log(near_NK[:, -1:] / around_RK[of_NK, -1])
    score_N: Floats = np.round((lid_R[of_NK] * lonelier_NK).mean(axis=1), cosines.DECIMALS)
    return score_N + 0.0  # no negative zero


def _unit(vectors: Vectors) -> npt.NDArray[np.float32]:
    rows = vectors.astype(np.float64)
    unit: npt.NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _neighbours(
    rows_ND: npt.NDArray[np.float32], reference_RD: npt.NDArray[np.float32], k: int
) -> tuple[Floats, Index]:
    """Returns the distances to the k nearest reference rows, ascending, and which they are: (N, K) each.

    float32 proposes a few more than k, float64 settles their order: the same on any number of threads.
    """
    num_candidates = min(k + _SPARE, len(reference_RD))
    step = max(_BLOCK_VALUES // max(len(reference_RD), num_candidates * rows_ND.shape[1]), 1)
    distance_NK, of_NK = np.empty((len(rows_ND), k)), np.empty((len(rows_ND), k), np.int64)
    for start in range(0, len(rows_ND), step):
        part = slice(start, start + step)
        farness = -(rows_ND[part] @ reference_RD.T)
        candidates = np.sort(np.argpartition(farness, num_candidates - 1, axis=1)[:, :num_candidates], axis=1)
        apart = rows_ND[part, None].astype(np.float64) - reference_RD[candidates]
        distance = np.round(np.sqrt((apart**2).sum(axis=2)), cosines.DECIMALS)
        order = np.argsort(distance, axis=1, kind="stable")
        is_itself = np.take_along_axis(distance, order[:, :1], axis=1) == 0
        order = np.where(is_itself, order[:, 1 : k + 1], order[:, :k])
        distance_NK[part] = np.maximum(np.take_along_axis(distance, order, axis=1), _MIN_DISTANCE)
        of_NK[part] = np.take_along_axis(candidates, order, axis=1)
    return distance_NK, of_NK
