"""Retrieval ranks on relations small enough to check by eye."""

import numpy as np
import pytest

from cyclip_model.metrics import retrieval


def test_each_picture_has_one_caption() -> None:
    score = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.3, 0.2, 0.1]])
    rank = retrieval.best_ranks(score, np.eye(3, dtype=bool))
    assert rank.tolist() == [0, 1, 2]
    assert [retrieval.recall(rank, k) for k in (1, 2, 3)] == [pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0]


def test_several_pictures_may_share_a_caption() -> None:
    relevant_NT = retrieval.relevance(np.array([0, 0, 1]), 2)
    assert relevant_NT.tolist() == [[True, False], [True, False], [False, True]]
    score_TN = np.array([[0.1, 0.9, 0.5], [0.7, 0.6, 0.5]])
    assert retrieval.best_ranks(score_TN, relevant_NT.T).tolist() == [0, 2], "any of the relevant pictures is a hit"


def test_all_five_captions_count() -> None:
    relevant = np.zeros((1, 6), dtype=bool)
    relevant[0, 1:] = True
    assert retrieval.best_ranks(np.array([[0.9, 0.1, 0.2, 0.3, 0.4, 0.8]]), relevant).tolist() == [1]


def test_another_relevant_item_ahead_is_no_rival() -> None:
    relevant = np.array([[True, True, False]])
    assert retrieval.best_ranks(np.array([[0.5, 0.6, 0.1]]), relevant).tolist() == [0]


def test_a_tie_is_no_hit() -> None:
    assert retrieval.best_ranks(np.full((1, 3), 0.5), np.array([[False, True, False]])).tolist() == [2]


def test_a_poor_model_reaches_a_poor_recall() -> None:
    """Unfilled slots must not count as hits: the worst order has recall 0 at every k below the pool's size."""
    size = 20
    score = -np.eye(size)
    rank = retrieval.best_ranks(score, np.eye(size, dtype=bool))
    assert [retrieval.recall(rank, k) for k in (1, 5, 10, 19)] == [0.0, 0.0, 0.0, 0.0]
    assert retrieval.recall(rank, 20) == 1.0


def test_a_query_without_a_relevant_item_is_refused() -> None:
    with pytest.raises(ValueError, match="query 1 has no relevant item"):
        retrieval.best_ranks(np.eye(2), np.array([[True, False], [False, False]]))
