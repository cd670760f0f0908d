"""Semantic textual similarity: rank correlation of cosines with people's scores."""

import numpy as np
from scipy.stats import spearmanr

from cyclip_model.metrics.zeroshot import Floats


def spearman(a_ND: Floats, b_ND: Floats, score_N: Floats) -> float | None:
    """Spearman correlation of row-wise cosines with scores; None where either is constant."""
    cos_N = (a_ND.astype(np.float64) * b_ND).sum(axis=1).round(6)
    if np.ptp(cos_N) == 0 or np.ptp(score_N) == 0:
        return None
    return float(spearmanr(cos_N, score_N).statistic)
