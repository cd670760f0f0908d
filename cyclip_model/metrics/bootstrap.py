"""Paired bootstrap: how sure is the difference of two models that answered the same rows?"""

import numpy as np

from cyclip_model.metrics.zeroshot import Floats


def paired(a_N: Floats, b_N: Floats, *, rounds: int, seed: int, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of a - b over N paired rows, and the percentile interval of that mean over resampled rows.

    The rows may be hits (0 and 1) or any number a row; the same seed gives the same interval. Raises ValueError where
    there are no rows, not as many of both, no rounds, or a confidence outside 0 to 1.
    """
    if len(a_N) != len(b_N) or not len(a_N):
        raise ValueError(
            f"{len(a_N)} and {len(b_N)} rows: a paired comparison takes the same rows of both, one at least"
        )
    if rounds < 1 or not 0 < confidence < 1:
        raise ValueError(f"rounds {rounds} and confidence {confidence}: at least 1, and between 0 and 1")
    difference_N = a_N.astype(np.float64) - b_N.astype(np.float64)
    rng, num_rows = np.random.default_rng(seed), len(difference_N)
    # How often each distinct difference is drawn is all that the mean needs: hits have three, whatever N.
    value_V, num_V = np.unique(difference_N, return_counts=True)
    mean_R = [rng.multinomial(num_rows, num_V / num_rows) @ value_V / num_rows for _ in range(rounds)]
    low, high = np.quantile(mean_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(difference_N.mean()), float(low), float(high)
