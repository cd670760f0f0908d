"""Gauges of clusters by hand and against scikit-learn and scipy."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics import normalized_mutual_info_score

from cyclip_model.metrics import clusters


def test_four_rows_in_two_of_four_clusters() -> None:
    probability_NK = np.eye(4)[[0, 0, 1, 1]]
    found = clusters.gauges(probability_NK, np.array([5, 5, 3, 3]))
    assert found == {"active_clusters": 2, "smoothness": pytest.approx(0.5), "nmi": pytest.approx(1.0)}
    assert clusters.gauges(probability_NK)["nmi"] is None
    assert clusters.gauges(probability_NK, np.array([0, 1, 0, 1]))["nmi"] == pytest.approx(0.0)


def test_collapse_and_evenness() -> None:
    assert clusters.gauges(np.eye(3)[[1, 1]])["smoothness"] == 0.0
    even = clusters.gauges(np.full((5, 3), 1 / 3))
    assert even["smoothness"] == pytest.approx(1.0)
    assert even["active_clusters"] == 1, "the first of equals: evenness on average is no use of clusters"


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-2, 2)), min_size=1, max_size=30))
def test_mutual_information_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    a_N, b_N = np.array(pairs).T
    with warnings.catch_warnings(action="ignore"):  # that labels look continuous where many differ
        expected = normalized_mutual_info_score(a_N, b_N)
    assert clusters.normalised_mutual_information(a_N, b_N) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("chunk_rows", [1, 7, 100, None])
def test_smoothness_is_scipys_entropy_in_any_chunks(chunk_rows: int | None) -> None:
    probability_NK = softmax(2 * np.random.default_rng(0).normal(size=(50, 6)), axis=1).astype(np.float32)
    found = clusters.gauges(probability_NK, probability_NK.argmax(axis=1), chunk_rows=chunk_rows)
    assert found["smoothness"] == pytest.approx(entropy(probability_NK.mean(axis=0)) / np.log(6), abs=1e-6)
    assert found["active_clusters"] == 6
    assert found["nmi"] == pytest.approx(1.0)


def test_head_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="row 1 is no distribution"):
        clusters.gauges(np.array([[0.5, 0.5], [3.0, 1.0]]), chunk_rows=1)
    with pytest.raises(ValueError, match="row 0 is no distribution"):
        clusters.gauges(np.array([[1.5, -0.5], [0.5, 0.5]]))
    with pytest.raises(ValueError, match="there must be a row"):
        clusters.gauges(np.empty((0, 4)))
