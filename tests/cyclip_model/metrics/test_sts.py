"""Spearman's correlation by hand and against scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from cyclip_model.metrics import sts
from cyclip_model.metrics.zeroshot import cosines, normalise

ONE = np.array([[1.0, 0.0]] * 3)
TURNED = np.array([[5.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
"""Cosines with ONE of 1, 0.71 and 0."""


def test_only_the_order_counts() -> None:
    assert sts.spearman(ONE, TURNED, np.array([5.0, 4.9, 0.0])) == pytest.approx(1.0)
    assert sts.spearman(ONE, TURNED, np.array([0.0, 0.1, 5.0])) == pytest.approx(-1.0)
    assert sts.spearman(ONE, TURNED, np.array([2.0, 3.0, 1.0])) == pytest.approx(0.5)


def test_a_constant_side_has_no_correlation() -> None:
    assert sts.spearman(ONE, TURNED, np.array([3.0, 3.0, 3.0])) is None
    assert sts.spearman(ONE, ONE, np.array([1.0, 2.0, 3.0])) is None, "a model whose texts are all alike"
    assert sts.spearman(ONE[:1], ONE[:1], np.array([1.0])) is None


def test_it_is_scipys_with_ties() -> None:
    rng = np.random.default_rng(0)
    a_ND, b_ND, score_N = rng.normal(size=(80, 4)), rng.normal(size=(80, 4)), rng.integers(0, 6, 80) / 1.0
    cosine_N = np.diag(cosines(normalise(a_ND), normalise(b_ND)))
    assert sts.spearman(a_ND, b_ND, score_N) == pytest.approx(spearmanr(cosine_N, score_N).statistic, abs=1e-6)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_places_are_scipys_ranks(numbers: list[int]) -> None:
    assert sts.mean_places(np.array(numbers)).tolist() == [rank - 1 for rank in rankdata(numbers)]


def test_rows_must_pair() -> None:
    with pytest.raises(ValueError, match="3 and 3 sentences but 2 scores"):
        sts.spearman(ONE, TURNED, np.array([1.0, 2.0]))
