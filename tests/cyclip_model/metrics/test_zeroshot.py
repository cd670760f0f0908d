"""Zero-shot metrics on matrices small enough to check by eye."""

import numpy as np
import pytest

from cyclip_model.metrics import zeroshot

SCORES = np.array(
    [
        [0.9, 0.5, 0.1],
        [0.2, 0.3, 0.8],
        [0.4, 0.6, 0.5],
        [0.7, 0.7, 0.1],
    ]
)


def labels(*numbers: int) -> zeroshot.Ints:
    return np.array(numbers, dtype=np.int64)


def test_ranks_count_the_classes_ahead_of_the_truth() -> None:
    assert zeroshot.ranks(SCORES[:3], labels(0, 1, 2)).tolist() == [0, 1, 1]


def test_a_tie_is_no_hit() -> None:
    assert zeroshot.ranks(SCORES[3:], labels(0)).tolist() == [1]
    assert zeroshot.ranks(SCORES[3:], labels(1)).tolist() == [1]


def test_float_noise_makes_no_hit() -> None:
    assert zeroshot.ranks(np.array([[0.5 + 1e-8, 0.5]]), labels(0)).tolist() == [1]
    assert zeroshot.ranks(np.array([[0.5 + 1e-5, 0.5]]), labels(0)).tolist() == [0]


def test_a_model_whose_texts_are_all_alike_names_nothing() -> None:
    assert zeroshot.top_k(zeroshot.ranks(np.full((3, 4), 0.7), labels(0, 1, 2)), 1) == 0.0


def test_top_k_is_a_share_of_rows() -> None:
    rank_N = labels(0, 1, 1, 2)
    assert [zeroshot.top_k(rank_N, k) for k in (1, 2, 3)] == [0.25, 0.75, 1.0]


def test_balanced_accuracy_weighs_classes_alike() -> None:
    correct_N, label_N = np.array([True, True, True, False]), labels(0, 0, 0, 2)
    assert zeroshot.balanced_accuracy(correct_N, label_N) == 0.5


def test_class_embedding_is_the_mean_of_unit_prompts() -> None:
    prompt_PD = np.array([[10.0, 0.0], [0.0, 1.0], [0.0, -3.0]])
    class_CD = zeroshot.class_embeddings(prompt_PD, labels(0, 0, 1), 2)
    np.testing.assert_allclose(class_CD, [[0.5**0.5, 0.5**0.5], [0.0, -1.0]], rtol=1e-6)


def test_a_class_without_prompts_is_refused() -> None:
    with pytest.raises(ValueError, match="class 1 has no prompt"):
        zeroshot.class_embeddings(np.eye(2), labels(0, 2), 3)


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="diverged"):
        zeroshot.normalise(np.array([[np.nan, 1.0]]))


def test_normalise_keeps_a_zero_row() -> None:
    found = zeroshot.normalise(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)


def test_fine_accuracy_asks_within_the_true_superclass_only() -> None:
    superclass_C = labels(0, 0, 1)
    assert zeroshot.fine_ranks(SCORES[1:2], labels(1), superclass_C).tolist() == [0], "class 2 lies elsewhere"
    assert zeroshot.fine_ranks(SCORES[2:3], labels(0), superclass_C).tolist() == [1]
    assert zeroshot.fine_ranks(SCORES[1:2], labels(2), superclass_C).tolist() == [0]


def test_coarse_scores_are_the_best_of_each_superclass() -> None:
    found = zeroshot.coarse_scores(SCORES[:2], labels(0, 0, 2), 3)
    assert found.tolist() == [[0.9, -np.inf, 0.1], [0.3, -np.inf, 0.8]]


def test_cosines_of_unit_rows() -> None:
    assert zeroshot.cosines(np.eye(2), np.array([[0.6, 0.8]])).tolist() == [[0.6], [0.8]]
