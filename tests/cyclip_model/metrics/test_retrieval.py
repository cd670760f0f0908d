"""Retrieval ranks on relations small enough to check by eye."""

import numpy as np
import pytest
import torch
from clip_benchmark.metrics import zeroshot_retrieval
from hypothesis import assume, given
from hypothesis import strategies as st

from cyclip_model.metrics import retrieval
from cyclip_model.metrics.zeroshot import Floats, Ints, cosines, normalise
from tests.cyclip_model.metrics import grids


def test_each_picture_has_one_caption() -> None:
    score = np.array([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.3, 0.2, 0.1]])
    rank = retrieval.best_ranks(score, np.eye(3, dtype=bool))
    assert rank.tolist() == [0, 1, 2]
    assert [retrieval.recall(rank, k) for k in (1, 2, 3)] == [pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0]


def test_several_pictures_may_share_a_caption() -> None:
    relevant_TN = np.array([[True, True, False], [False, False, True]])
    score_TN = np.array([[0.1, 0.9, 0.5], [0.7, 0.6, 0.5]])
    assert retrieval.best_ranks(score_TN, relevant_TN).tolist() == [0, 2], "any of the relevant pictures is a hit"


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


FIVE = np.repeat(np.arange(4), 5)
"""Group of each of 20 captions: five a picture."""


def test_any_of_five_captions_is_a_hit() -> None:
    """The reference keeps the first caption of five: here each picture's fifth is the only one it finds."""
    caption_TD = np.where(np.arange(20)[:, None] % 5 == 4, np.eye(4)[FIVE], -np.eye(4)[FIVE])
    found = retrieval.group_ranks(np.eye(4), caption_TD, np.arange(4), FIVE)
    assert found.tolist() == [0, 0, 0, 0]
    first_only = retrieval.group_ranks(np.eye(4), caption_TD[::5], np.arange(4), np.arange(4))
    assert first_only.tolist() == [3, 3, 3, 3], "what keeping one caption of five would have said"


def test_no_unfilled_slot_counts_as_a_hit() -> None:
    """The reference writes ranks into a table of zeros for five captions a picture and fills a fifth of it."""
    rank_Q = retrieval.group_ranks(np.eye(20), -np.eye(20), np.arange(20), np.arange(20))
    assert rank_Q.tolist() == [19] * 20
    unfilled = np.zeros((20, 5))
    unfilled[:, 0] = rank_Q
    assert (unfilled < 10).mean() == 0.8, "how the worst of all models would reach 80 %"
    assert retrieval.recall(rank_Q, 10) == 0.0


@given(grids.rows(), grids.rows(), st.integers(1, 13), st.data())
def test_the_chunk_never_changes_a_rank(
    query_QD: Floats, item_TD: Floats, chunk_rows: int, data: st.DataObject
) -> None:
    query_Q, item_T = (np.array([data.draw(st.integers(0, 2)) for _ in rows]) for rows in (query_QD, item_TD))
    assume(np.isin(query_Q, item_T).all())
    expected = retrieval.best_ranks(cosines(query_QD, item_TD), query_Q[:, None] == item_T[None])
    assert (
        retrieval.group_ranks(query_QD, item_TD, query_Q, item_T, chunk_rows=chunk_rows).tolist() == expected.tolist()
    )


def test_a_group_without_items_is_refused() -> None:
    query_Q, item_T = np.array([0, 7, 2]), np.array([2, 2, 0, 1])
    with pytest.raises(ValueError, match="query 1 has no relevant item: no item is of its group 7"):
        retrieval.group_ranks(np.eye(3), np.ones((4, 3)), query_Q, item_T)


class Precomputed(torch.nn.Module):
    """A model whose pictures and tokens are embeddings already."""

    def __init__(self, caption_TD: Floats) -> None:
        super().__init__()
        self._caption_TD = torch.from_numpy(caption_TD)

    def encode_image(self, image_BD: torch.Tensor) -> torch.Tensor:
        """The embeddings as they are."""
        return image_BD

    def encode_text(self, number_B: torch.Tensor) -> torch.Tensor:
        """The embeddings of captions by number."""
        return self._caption_TD[number_B]


def test_recall_is_that_of_clip_benchmark() -> None:
    rng = np.random.default_rng(0)
    group_T = np.repeat(np.arange(60), 5)
    image_ND = normalise(rng.normal(size=(60, 16)))
    caption_TD = normalise(image_ND[group_T] + 0.6 * rng.normal(size=(300, 16)))
    batches = [
        (torch.from_numpy(image_ND[start:][:20]), [list(range(5 * n, 5 * n + 5)) for n in range(start, start + 20)])
        for start in range(0, 60, 20)
    ]
    theirs = zeroshot_retrieval.evaluate(
        Precomputed(caption_TD), batches, torch.tensor, "cpu", amp=False, recall_k_list=[1, 5, 10]
    )
    directions: dict[str, tuple[Floats, Floats, Ints, Ints]] = {
        "text": (image_ND, caption_TD, np.arange(60), group_T),
        "image": (caption_TD, image_ND, group_T, np.arange(60)),
    }
    for wanted, arrays in directions.items():
        rank_Q = retrieval.group_ranks(*arrays, chunk_rows=17)
        for k in (1, 5, 10):
            found = retrieval.recall(rank_Q, k)
            assert 0.1 < found <= 1
            assert found == pytest.approx(theirs[f"{wanted}_retrieval_recall@{k}"], abs=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_a_gpu_says_the_same() -> None:
    rng = np.random.default_rng(0)
    arrays = normalise(rng.normal(size=(60, 8))), normalise(rng.normal(size=(40, 8)))
    groups = np.arange(60) % 20, np.arange(40) % 20
    found = retrieval.group_ranks(*arrays, *groups, device="cuda", chunk_rows=7)
    assert found.tolist() == retrieval.group_ranks(*arrays, *groups).tolist()
