"""Chance and majority levels, against counting by hand and against drawing at random."""

import numpy as np
import pytest

from cyclip_model.metrics import baselines, retrieval


def test_chance_of_top_k_is_capped() -> None:
    assert baselines.chance_top_k(5, 20) == 0.25
    assert baselines.chance_top_k(10, 9) == 1.0


def test_majority_answers_the_most_frequent_classes() -> None:
    label_N = np.array([4, 4, 4, 1, 1, 0])
    assert baselines.majority_top_k(label_N, 1) == 0.5
    assert baselines.majority_top_k(label_N, 2) == pytest.approx(5 / 6)


def test_chance_of_recall_counts_every_relevant_item() -> None:
    num_relevant = np.array([1, 2])
    assert baselines.chance_recall(num_relevant, 4, 1) == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert baselines.chance_recall(num_relevant, 4, 2) == pytest.approx((1 / 2 + 5 / 6) / 2)
    assert baselines.chance_recall(num_relevant, 4, 9) == 1.0


def test_chance_of_recall_is_what_random_orders_reach() -> None:
    rng = np.random.default_rng(0)
    relevant = rng.random((400, 12)) < 0.2
    relevant[:, 0] = True
    found = [retrieval.recall(retrieval.best_ranks(rng.random(relevant.shape), relevant), 3) for _ in range(40)]
    assert np.mean(found) == pytest.approx(baselines.chance_recall(relevant.sum(axis=1), 12, 3), abs=0.01)


def test_chance_of_agreement_is_the_product_of_frequencies() -> None:
    assert baselines.chance_agreement(np.array([0, 0, 1, 1]), np.array([1, 1, 1, 1])) == 0.5
    assert baselines.chance_agreement(np.array([0, 0]), np.array([5, 5])) == 0.0


def test_chance_within_a_superclass() -> None:
    assert baselines.chance_within(np.array([0, 3]), np.array([0, 0, 0, 1])) == pytest.approx((1 / 3 + 1) / 2)


def test_a_leaf_is_rounded_and_says_what_is_meaningless() -> None:
    levels = {"chance": 0.25, "majority": None, "standard_error": None}
    assert baselines.leaf(1 / 3, 3, 0.25) == {"value": 0.333333, "n": 3, **levels}


def test_a_share_has_its_binomial_standard_error() -> None:
    assert baselines.share(0.2, 64, 0.1)["standard_error"] == 0.05
    assert baselines.share(1.0, 64)["standard_error"] == 0.0
    assert baselines.share(0.0, 0)["standard_error"] is None
