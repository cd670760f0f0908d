"""Intervals by resampling, against SciPy's and against the normal ones that they tend to."""

import numpy as np
import pytest
from scipy import stats

from cyclip_model.metrics import bootstrap


def test_models_that_answer_alike_differ_by_nothing() -> None:
    hit_N = np.array([True, False, True, True])
    assert bootstrap.paired(hit_N, hit_N, rounds=100, seed=0, confidence=0.95) == (0.0, 0.0, 0.0)


def test_a_difference_on_every_row_is_sure() -> None:
    assert bootstrap.paired(np.ones(5), np.zeros(5), rounds=100, seed=0, confidence=0.95) == (1.0, 1.0, 1.0)


def test_one_row_of_two_that_differs_is_resampled_never_once_or_twice() -> None:
    """0, 1/2 and 1 with weights 1/4, 1/2, 1/4: half of the mass lies at 1/2, and 95 % reaches both ends."""
    given = np.array([True, False]), np.array([False, False])
    assert bootstrap.paired(*given, rounds=2000, seed=0, confidence=0.95) == (0.5, 0.0, 1.0)
    assert bootstrap.paired(*given, rounds=2000, seed=0, confidence=0.4) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("shares", [False, True], ids=["numbers", "hits"])
def test_as_scipy_resamples(shares: bool) -> None:
    rng = np.random.default_rng(0)
    a_N, b_N = rng.random((2, 300)) < 0.6 if shares else rng.normal(size=(2, 300))
    found = bootstrap.paired(a_N, b_N, rounds=4000, seed=1, confidence=0.9)
    difference_N = a_N.astype(float) - b_N.astype(float)
    expected = stats.bootstrap(
        (difference_N,), np.mean, n_resamples=4000, confidence_level=0.9, method="percentile", rng=rng
    ).confidence_interval
    assert found[0] == pytest.approx(difference_N.mean())
    assert found[1:] == pytest.approx(tuple(expected), abs=0.1 * (expected.high - expected.low))


def test_pairs_are_what_makes_the_interval_narrow() -> None:
    """Two models that miss the same rows: resampled apart, the difference would be lost in what the rows leave open."""
    a_N = np.arange(1000) < 500
    b_N = np.arange(1000) < 490
    _, low, high = bootstrap.paired(a_N, b_N, rounds=4000, seed=0, confidence=0.95)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.01 * 0.99 / 1000), rel=0.1)
    assert low > 0


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    held = 0
    for seed in range(400):
        a_N, b_N = rng.random(200) < 0.7, rng.random(200) < 0.6
        _, low, high = bootstrap.paired(a_N, b_N, rounds=400, seed=seed, confidence=0.9)
        held += low <= 0.1 <= high
    assert held / 400 == pytest.approx(0.9, abs=0.04)


def test_same_seed_same_interval_whatever_is_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    a_N, b_N = np.random.default_rng(0).normal(size=(2, 50))
    whole = bootstrap.paired(a_N, b_N, rounds=300, seed=5, confidence=0.95)
    monkeypatch.setattr(bootstrap, "_CELLS", 100)
    assert bootstrap.paired(a_N, b_N, rounds=300, seed=5, confidence=0.95) == pytest.approx(whole, abs=1e-12)
    assert bootstrap.paired(a_N, b_N, rounds=300, seed=6, confidence=0.95) != pytest.approx(whole, abs=1e-12)


def test_what_does_not_pair_up_is_refused() -> None:
    with pytest.raises(ValueError, match="3 and 2 rows"):
        bootstrap.paired(np.ones(3), np.ones(2), rounds=10, seed=0, confidence=0.95)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap.paired(np.ones(0), np.ones(0), rounds=10, seed=0, confidence=0.95)
    with pytest.raises(ValueError, match=r"confidence 1.0, 10 rounds"):
        bootstrap.paired(np.ones(3), np.ones(3), rounds=10, seed=0, confidence=1.0)
    with pytest.raises(ValueError, match="0 rounds"):
        bootstrap.paired(np.ones(3), np.ones(3), rounds=0, seed=0, confidence=0.9)
