"""The paired bootstrap against scipy's, and what pairing is for."""

import numpy as np
import pytest
from scipy.stats import bootstrap as scipys

from cyclip_model.metrics import bootstrap

RNG = np.random.default_rng(0)
A, B = (RNG.random(400) < 0.6).astype(float), (RNG.random(400) < 0.5).astype(float)


def test_the_interval_is_scipys_but_for_the_draw() -> None:
    difference, low, high = bootstrap.paired(A, B, rounds=4000, seed=1, confidence=0.9)
    theirs = scipys(
        (A - B,), np.mean, n_resamples=4000, confidence_level=0.9, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert difference == pytest.approx(A.mean() - B.mean())
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.006)


def test_the_same_seed_is_the_same_interval() -> None:
    first, second, other = (bootstrap.paired(A, B, rounds=200, seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first[1:] != other[1:]


def test_equal_answers_have_no_spread_and_a_constant_lead_none_either() -> None:
    assert bootstrap.paired(A, A, rounds=50, seed=0) == (0.0, 0.0, 0.0)
    assert bootstrap.paired((A + 2).astype(np.float64), A, rounds=50, seed=0) == pytest.approx((2.0, 2.0, 2.0))


def test_more_confidence_is_a_wider_interval() -> None:
    _, low, high = bootstrap.paired(A, B, rounds=500, seed=0, confidence=0.5)
    _, wide_low, wide_high = bootstrap.paired(A, B, rounds=500, seed=0, confidence=0.99)
    assert wide_low < low < high < wide_high


def test_what_does_not_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="400 and 399 rows"):
        bootstrap.paired(A, B[:-1], rounds=5, seed=0)
    with pytest.raises(ValueError, match="0 and 0 rows"):
        bootstrap.paired(A[:0], B[:0], rounds=5, seed=0)
    with pytest.raises(ValueError, match="rounds 0"):
        bootstrap.paired(A, B, rounds=0, seed=0)
