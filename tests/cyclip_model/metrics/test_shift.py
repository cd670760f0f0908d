"""The line of effective robustness by hand and against scipy."""

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import linregress

from cyclip_model.metrics import shift


def test_models_on_a_line_are_no_more_robust_than_foretold() -> None:
    base_M = np.array([0.2, 0.5, 0.8])
    shifted_M = expit(0.9 * logit(base_M) - 0.4)
    slope, intercept = shift.fit(base_M, shifted_M)
    assert [slope, intercept] == pytest.approx([0.9, -0.4])
    assert shift.effective_robustness(0.5, shifted_M[1], slope, intercept) == pytest.approx(0.0)
    assert shift.effective_robustness(0.5, 0.7, 1.0, 0.0) == pytest.approx(0.2), "0.5 foretells 0.5"


def test_the_line_is_scipys() -> None:
    base_M, shifted_M = np.random.default_rng(0).uniform(0.05, 0.95, size=(2, 20))
    theirs = linregress(logit(base_M), logit(shifted_M))
    assert shift.fit(base_M, shifted_M) == pytest.approx((theirs.slope, theirs.intercept), abs=1e-9)


def test_what_has_no_line_or_logit_is_refused() -> None:
    with pytest.raises(ValueError, match="two models of different accuracy"):
        shift.fit(np.array([0.5, 0.5]), np.array([0.2, 0.4]))
    with pytest.raises(ValueError, match="finite logit"):
        shift.fit(np.array([0.5, 1.0]), np.array([0.2, 0.4]))
    with pytest.raises(ValueError, match="finite logit"):
        shift.effective_robustness(0.0, 0.1, 1.0, 0.0)
