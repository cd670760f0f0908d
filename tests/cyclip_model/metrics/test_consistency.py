"""Neighbours, votes and the consistency score on a handful of rows."""

import numpy as np

from cyclip_model.metrics import consistency


def test_nearest_are_in_order_and_ties_keep_the_order_of_rows() -> None:
    train = np.array([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8], [1.0, 0.0]])
    found = consistency.nearest(np.array([[1.0, 0.0], [0.0, 1.0]]), train, 3)
    assert found.tolist() == [[1, 3, 2], [0, 2, 1]]


def test_k_is_capped_at_the_number_of_training_rows() -> None:
    assert consistency.nearest(np.eye(2), np.eye(2), 10).tolist() == [[0, 1], [1, 0]]


def test_the_vote_is_the_mode() -> None:
    assert consistency.vote(np.array([[7, 3, 3], [2, 2, 9]]), 3).tolist() == [3, 2]


def test_a_tie_shrinks_k_until_the_mode_is_unique() -> None:
    assert consistency.vote(np.array([[5, 4, 4, 5]]), 4).tolist() == [4], "5,4,4,5 ties; 5,4,4 does not"
    assert consistency.vote(np.array([[5, 4, 3]]), 3).tolist() == [5], "down to the nearest alone"


def test_k_of_one_is_the_nearest() -> None:
    assert consistency.vote(np.array([[9, 1, 1]]), 1).tolist() == [9]


def test_agreement_counts_equal_labels_right_or_wrong() -> None:
    assert consistency.agreement(np.array([1, 2, 3, 3]), np.array([1, 2, 0, 0])) == 0.5
