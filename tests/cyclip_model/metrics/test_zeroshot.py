"""Zero-shot metrics on matrices small enough to check by eye."""

from random import Random

import numpy as np
import pytest
import torch
from clip_benchmark.metrics import zeroshot_classification
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_accuracy

from cyclip_model.metrics import zeroshot
from cyclip_model.metrics.zeroshot import Floats
from tests.cyclip_model.metrics import grids

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


def test_classify_is_ranks_and_the_first_arg_max() -> None:
    query_ND, class_CD = np.eye(4)[:, :3] @ SCORES[:3], np.eye(3)
    found = zeroshot.classify(query_ND, class_CD, labels(0, 1, 2, 0), chunk_rows=3)
    assert found.rank_N.tolist() == [0, 1, 1, 2], "the last row scores nothing for any class: all are ahead"
    assert found.predicted_N.tolist() == [0, 2, 1, 0]


@given(grids.rows(), grids.rows(least=2), st.integers(1, 13), st.randoms(use_true_random=False))
def test_the_chunk_never_changes_a_class(query_ND: Floats, class_CD: Floats, chunk_rows: int, random: Random) -> None:
    label_N = np.array([random.randrange(len(class_CD)) for _ in query_ND])
    superclass_C = np.array([random.randrange(3) for _ in class_CD])
    score_NC = zeroshot.cosines(query_ND, class_CD)
    found = zeroshot.classify(query_ND, class_CD, label_N, chunk_rows=chunk_rows)
    assert found.rank_N.tolist() == zeroshot.ranks(score_NC, label_N).tolist()
    assert found.predicted_N.tolist() == score_NC.argmax(axis=1).tolist()
    fine_N, coarse_N = zeroshot.hierarchy(query_ND, class_CD, label_N, superclass_C, chunk_rows=chunk_rows)
    score_NS = zeroshot.coarse_scores(score_NC, superclass_C, int(superclass_C.max()) + 1)
    assert fine_N.tolist() == zeroshot.fine_ranks(score_NC, label_N, superclass_C).tolist()
    assert coarse_N.tolist() == zeroshot.ranks(score_NS, superclass_C[label_N]).tolist()


def test_hierarchy_by_hand() -> None:
    query_ND = SCORES[[1]]
    fine_N, coarse_N = zeroshot.hierarchy(query_ND, np.eye(3), labels(1), labels(0, 0, 1))
    assert (fine_N.tolist(), coarse_N.tolist()) == ([0], [1]), "0.3 beats 0.2 within, 0.8 of the other beats both"


@pytest.mark.parametrize(("label", "row"), [((0, 3), 1), ((-1, 0), 0)])
def test_a_label_that_is_no_class_is_refused(label: tuple[int, ...], row: int) -> None:
    with pytest.raises(ValueError, match=f"row {row} has label {label[row]}, but there are 3 classes"):
        zeroshot.classify(SCORES[:2], np.eye(3), labels(*label))
    with pytest.raises(ValueError, match="but there are 3 classes"):
        zeroshot.hierarchy(SCORES[:2], np.eye(3), labels(*label), labels(0, 0, 0))


def made(num_rows: int, num_classes: int) -> tuple[Floats, Floats, zeroshot.Ints]:
    rng = np.random.default_rng(num_classes)
    class_CD = zeroshot.normalise(rng.normal(size=(num_classes, 16)))
    label_N = np.concatenate([np.arange(num_classes), rng.integers(0, num_classes, num_rows - num_classes)])
    return zeroshot.normalise(class_CD[label_N] + 0.4 * rng.normal(size=(num_rows, 16))), class_CD, label_N


class Precomputed(torch.nn.Module):
    """A model whose pictures are their embeddings already, for what is called with a model."""

    def encode_image(self, image_BD: torch.Tensor) -> torch.Tensor:
        """The embeddings as they are."""
        return image_BD


@pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning:clip_benchmark")
@pytest.mark.parametrize("num_classes", [3, 7, 40])
def test_top_k_and_balanced_accuracy_are_those_of_three_libraries(num_classes: int) -> None:
    query_ND, class_CD, label_N = made(300, num_classes)
    found = zeroshot.classify(query_ND, class_CD, label_N, chunk_rows=70)
    balanced = zeroshot.balanced_accuracy(found.rank_N == 0, label_N)
    assert 0.1 < balanced < 0.99, "neither all nor nothing, or the rest would say little"
    assert balanced == pytest.approx(balanced_accuracy_score(label_N, found.predicted_N), abs=1e-6)
    batches = [
        (torch.from_numpy(query_ND[start:][:64]), torch.from_numpy(label_N[start:][:64])) for start in range(0, 300, 64)
    ]
    logits_NC, truth_N = zeroshot_classification.run_classification(
        Precomputed(), torch.from_numpy(class_CD.T), batches, "cpu", amp=False
    )
    ks = [k for k in (1, 2, 5, 10) if k < num_classes]
    theirs = zeroshot_classification.accuracy(logits_NC, truth_N, topk=ks)
    for k, share in zip(ks, theirs, strict=True):
        ours, score_NC = zeroshot.top_k(found.rank_N, k), logits_NC.numpy()
        assert ours == pytest.approx(share, abs=1e-6)
        if num_classes > 2:
            assert ours == pytest.approx(
                top_k_accuracy_score(label_N, score_NC, k=k, labels=range(num_classes)), abs=1e-6
            )
        torch_share = multiclass_accuracy(logits_NC, truth_N, num_classes=num_classes, top_k=k, average="micro")
        assert ours == pytest.approx(float(torch_share), abs=1e-6)


def test_top_10_of_nine_classes_is_every_row_where_the_reference_crashes() -> None:
    query_ND, class_CD, label_N = made(50, 9)
    with pytest.raises(RuntimeError, match="out of range"):
        torch.from_numpy(zeroshot.cosines(query_ND, class_CD)).topk(10, dim=1)
    assert zeroshot.top_k(zeroshot.classify(query_ND, class_CD, label_N).rank_N, 10) == 1.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_a_gpu_says_the_same() -> None:
    args = made(300, 40)
    ours, theirs = zeroshot.classify(*args), zeroshot.classify(*args, device="cuda", chunk_rows=100)
    assert ours.rank_N.tolist() == theirs.rank_N.tolist()
    assert ours.predicted_N.tolist() == theirs.predicted_N.tolist()


def test_a_score_that_is_no_number_is_no_hit() -> None:
    with pytest.raises(ValueError, match="diverged"):
        zeroshot.ranks(np.full((2, 3), np.nan), np.array([0, 1]))
    with pytest.raises(ValueError, match="diverged"):
        zeroshot.classify(np.full((2, 4), np.nan), np.ones((3, 4)), np.array([0, 1]))
