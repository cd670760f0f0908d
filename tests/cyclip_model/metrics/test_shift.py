"""Effective robustness: the line by hand and by SciPy, and what lies off it."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from cyclip_model.metrics import shift


def test_a_line_through_two_models() -> None:
    """Odds 1 -> 1/2 and 3 -> 3/2: halved at both, so the slope is 1 and the intercept log(1/2)."""
    slope, intercept = shift.fit(np.array([1 / 2, 3 / 4]), np.array([1 / 3, 3 / 5]))
    assert slope == pytest.approx(1.0)
    assert intercept == pytest.approx(np.log(0.5))


def test_what_lies_on_the_line_has_none() -> None:
    assert shift.effective_robustness(0.5, 1 / 3, 1.0, np.log(0.5)) == pytest.approx(0.0)
    assert shift.effective_robustness(0.5, 1 / 3 + 0.1, 1.0, np.log(0.5)) == pytest.approx(0.1)
    assert shift.effective_robustness(0.9, 0.9, 1.0, 0.0) == pytest.approx(0.0), "the identity predicts no loss"


def test_least_squares_as_scipy_has_it() -> None:
    rng = np.random.default_rng(0)
    base_M = rng.uniform(0.1, 0.9, 20)
    shifted_M = expit(1.2 * logit(base_M) - 0.5 + rng.normal(scale=0.1, size=20))
    expected = stats.linregress(logit(base_M), logit(shifted_M))
    assert shift.fit(base_M, shifted_M) == pytest.approx((expected.slope, expected.intercept), abs=1e-9)


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_an_accuracy_without_a_logit_is_refused(end: float) -> None:
    with pytest.raises(ValueError, match="has no logit"):
        shift.fit(np.array([0.5, end]), np.array([0.4, 0.3]))
    with pytest.raises(ValueError, match="has no logit"):
        shift.fit(np.array([0.5, 0.6]), np.array([0.4, end]))
    with pytest.raises(ValueError, match="has no logit"):
        shift.effective_robustness(end, 0.5, 1.0, 0.0)


def test_one_accuracy_makes_no_line() -> None:
    with pytest.raises(ValueError, match="two different accuracies"):
        shift.fit(np.array([0.5]), np.array([0.4]))
    with pytest.raises(ValueError, match="two different accuracies"):
        shift.fit(np.array([0.5, 0.5]), np.array([0.4, 0.3]))
