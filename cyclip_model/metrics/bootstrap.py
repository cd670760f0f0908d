"""Confidence intervals by resampling rows: is one model better than another on these very rows?"""

import numpy as np

from cyclip_model.metrics.zeroshot import Bools, Floats, Ints

_CELLS = 1 << 22
"""Counts held at once."""


def paired(
    a_N: Floats | Ints | Bools, b_N: Floats | Ints | Bools, *, rounds: int, seed: int, confidence: float
) -> tuple[float, float, float]:
    """mean(a) - mean(b) and the percentile interval around it, rows being resampled as pairs (Efron, 1979).

    A resample of N rows is a draw of how often each distinct difference occurs, so hits and misses, whose differences
    are -1, 0 and 1, cost three numbers a round however many the rows; their order does not matter.

    Args:
        a_N: of one model, a number or a hit a row.
        b_N: of the other, on the same rows in the same order.
        rounds: resamples.
        seed: of the resamples.
        confidence: of the interval, between 0 and 1.

    Raises:
        ValueError: no rows, rows that do not pair up, or a confidence outside (0, 1).
    """
    if len(a_N) != len(b_N) or not len(a_N):
        raise ValueError(f"{len(a_N)} and {len(b_N)} rows: give the same rows of both models, at least one")
    if not 0 < confidence < 1 or rounds < 1:
        raise ValueError(
            f"confidence {confidence}, {rounds} rounds: give a confidence between 0 and 1, a round or more"
        )
    difference_N = a_N.astype(np.float64) - b_N.astype(np.float64)
    value_V, count_V = np.unique(difference_N, return_counts=True)
    generator, step = np.random.default_rng(seed), max(_CELLS // len(value_V), 1)
    sizes = [min(step, rounds - done) for done in range(0, rounds, step)]
    draws = [generator.multinomial(len(a_N), count_V / len(a_N), size=size) @ value_V for size in sizes]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(draws) / len(a_N), [tail, 1 - tail])
    return float(difference_N.mean()), float(low), float(high)
