"""Semantic textual similarity: do the cosines of sentence pairs stand in the order of what people say of them?"""

import numpy as np

from cyclip_model.metrics.zeroshot import TIE, Floats, normalise


def spearman(a_ND: Floats, b_ND: Floats, score_N: Floats) -> float | None:
    """Spearman's rank correlation of N cosines and N scores, -1 to 1; None where either side is constant.

    Ties share the mean of their places. Raises ValueError where the three do not have the same number of rows.
    """
    if not len(a_ND) == len(b_ND) == len(score_N):
        raise ValueError(f"{len(a_ND)} and {len(b_ND)} sentences but {len(score_N)} scores: there must be as many")
    cosine_N = (normalise(a_ND).astype(np.float64) * normalise(b_ND)).sum(axis=1)
    if len(score_N) < 2 or np.ptp(cosine_N) < TIE or np.ptp(score_N) == 0:
        return None
    return float(np.corrcoef(mean_places(cosine_N), mean_places(score_N))[0, 1])


def mean_places(x_N: Floats) -> Floats:
    """(N,) place of each number in ascending order, from 0; equal ones share the mean of their places."""
    _, place_N, num = np.unique(x_N, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(num) - (num + 1) / 2)[place_N], dtype=np.float64)
