"""Effective robustness (Taori et al., arXiv 2007.00644): accuracy under shift beyond what accuracy itself predicts.

Over many models, accuracy on a shifted set is close to a straight line in accuracy on its parent, once both are logits.
Legend: M models.
"""

import numpy as np
from scipy.special import expit, logit

from cyclip_model.metrics.zeroshot import Floats


def fit(base_M: Floats, shifted_M: Floats) -> tuple[float, float]:
    """Slope and intercept of least squares of logit(shifted) on logit(base).

    Raises ValueError for fewer than two different base accuracies, and for an accuracy of 0 or 1, which has no logit.
    """
    both = np.stack([np.asarray(base_M, dtype=np.float64), np.asarray(shifted_M, dtype=np.float64)])
    if not ((both > 0) & (both < 1)).all():
        raise ValueError("an accuracy of 0 or 1 has no logit: leave that model out of the baseline")
    x_M, y_M = logit(both)
    if len(x_M) < 2 or np.ptp(x_M) == 0:
        raise ValueError("a line takes models of two different accuracies on the parent set: give more of them")
    centred_M = x_M - x_M.mean()
    slope = float(centred_M @ y_M / (centred_M @ centred_M))
    return slope, float(y_M.mean() - slope * x_M.mean())


def effective_robustness(base: float, shifted: float, slope: float, intercept: float) -> float:
    """Accuracy under shift less what the line predicts from accuracy on the parent set.

    Raises ValueError for a base of 0 or 1.
    """
    if not 0 < base < 1:
        raise ValueError(f"accuracy {base} on the parent set has no logit: robustness is not defined there")
    return float(shifted - expit(slope * logit(base) + intercept))
