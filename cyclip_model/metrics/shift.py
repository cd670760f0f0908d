"""Effective robustness under natural distribution shift (Taori et al. 2020, arXiv 2007.00644).

Models' accuracies on a set and on its shifted sibling lie on a line once both are on the logit scale; what a model
has above that line is its effective robustness.
"""

import numpy as np

from cyclip_model.metrics.zeroshot import Floats


def fit(base_M: Floats, shifted_M: Floats) -> tuple[float, float]:
    """Slope and intercept of the least-squares line through M models' accuracies (shares), on the logit scale.

    Raises ValueError for fewer than two different accuracies on the base set, and for an accuracy of 0 or 1, whose
    logit is infinite.
    """
    x_M, y_M = _logit(base_M), _logit(shifted_M)
    if len(np.unique(x_M)) < 2:
        raise ValueError("a line takes two models of different accuracy on the base set")
    deviation_M = x_M - x_M.mean()
    slope = float((deviation_M * (y_M - y_M.mean())).sum() / (deviation_M**2).sum())
    return slope, float(y_M.mean() - slope * x_M.mean())


def effective_robustness(base: float, shifted: float, slope: float, intercept: float) -> float:
    """Accuracy on the shifted set less what the line foretells from that on the base set; shares, -1 to 1.

    Raises ValueError for a base accuracy of 0 or 1.
    """
    foretold = 1 / (1 + np.exp(-(slope * _logit(np.array([base]))[0] + intercept)))
    return float(shifted - foretold)


def _logit(share_M: Floats) -> Floats:
    if not ((share_M > 0) & (share_M < 1)).all():
        raise ValueError(f"accuracies {share_M.tolist()}: each must lie above 0 and below 1 to have a finite logit")
    return np.asarray(np.log(share_M / (1 - share_M)), dtype=np.float64)
