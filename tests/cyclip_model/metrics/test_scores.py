"""Each score's dot product is the score by its definition."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, softmax

from cyclip_model.metrics import scores
from cyclip_model.metrics.zeroshot import classify, cosines

RNG = np.random.default_rng(0)
IMAGE_NK, TEXT_CK = RNG.normal(size=(7, 5)).astype(np.float32), RNG.normal(size=(4, 5)).astype(np.float32)


def test_cluster_cosine_is_that_of_the_distributions() -> None:
    found = cosines(*scores.cluster_cosine(IMAGE_NK, TEXT_CK, 0.3))
    p, q = softmax(IMAGE_NK / 0.3, axis=1), softmax(TEXT_CK / 0.3, axis=1)
    np.testing.assert_allclose(found, 1 - cdist(p, q, "cosine"), atol=1e-6)


def test_cross_entropy_is_the_mean_of_both_directions() -> None:
    found = cosines(*scores.cross_entropy(IMAGE_NK, TEXT_CK, 0.3))
    p, q = softmax(IMAGE_NK / 0.3, axis=1), softmax(TEXT_CK / 0.3, axis=1)
    log_p, log_q = log_softmax(IMAGE_NK / 0.3, axis=1), log_softmax(TEXT_CK / 0.3, axis=1)
    expected = [[(p[n] @ log_q[c] + q[c] @ log_p[n]) / 2 for c in range(4)] for n in range(7)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_two_clusters_by_hand() -> None:
    head = np.log(np.array([[0.5, 0.5], [0.75, 0.25]]))
    image_NF, class_CF = scores.cross_entropy(head, head, 1.0)
    entropies = [np.log(2), -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))]
    np.testing.assert_allclose(-np.diag(cosines(image_NF, class_CF)), entropies, rtol=1e-6)


@pytest.mark.parametrize("score", [scores.head_cosine, scores.tower_cosine])
def test_cosines_of_outputs(score: type) -> None:
    found = cosines(*score(IMAGE_NK, TEXT_CK))
    np.testing.assert_allclose(found, 1 - cdist(IMAGE_NK, TEXT_CK, "cosine"), atol=1e-6)


def test_the_features_are_what_classify_takes_and_scores_may_disagree() -> None:
    head = np.array([[4.0, 0.0, 0.0], [2.0, 1.8, 1.8]])
    query = np.array([[8.0, 7.0, 7.0]])
    label = np.zeros(1, dtype=np.int64)
    said = {
        "cluster_cosine": classify(*scores.cluster_cosine(query, head, 1.0), label).predicted_N[0],
        "head_cosine": classify(*scores.head_cosine(query, head), label).predicted_N[0],
    }
    assert said == {"cluster_cosine": 1, "head_cosine": 1}
    sharp = classify(*scores.cluster_cosine(query, head, 0.1), label).predicted_N[0]
    assert sharp == 0, "at a low temperature both are all but one cluster, and head 0 is so the most"


def test_every_name_is_a_function() -> None:
    assert all(callable(getattr(scores, name)) for name in scores.NAMES)


def test_extreme_outputs_stay_finite() -> None:
    head = np.array([[3000.0, 0.0], [0.0, 0.0]], dtype=np.float32)
    assert np.isfinite(cosines(*scores.cross_entropy(head, head, 0.01))).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_above_zero(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature"):
        scores.cluster_cosine(IMAGE_NK, TEXT_CK, temperature)
