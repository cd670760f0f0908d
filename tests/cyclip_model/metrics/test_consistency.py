"""Neighbours, votes and the consistency score on a handful of rows."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from cyclip_model.metrics import consistency
from cyclip_model.metrics.zeroshot import Floats, cosines, normalise
from tests.cyclip_model.metrics import grids


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


@given(grids.rows(), grids.rows(), st.integers(1, 13), st.integers(1, 13), st.integers(1, 13))
def test_no_block_changes_a_neighbour(image_ND: Floats, train_MD: Floats, k: int, chunk: int, tile: int) -> None:
    found = consistency.nearest(image_ND, train_MD, k, chunk_rows=chunk, tile_rows=tile)
    expected = np.argsort(-cosines(image_ND, train_MD), axis=1, kind="stable")[:, :k]
    assert found.tolist() == expected.tolist()


def test_neighbours_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    image_ND, train_MD = normalise(rng.normal(size=(40, 8))), normalise(rng.normal(size=(200, 8)))
    theirs = NearestNeighbors(n_neighbors=7, metric="cosine").fit(train_MD.astype(float)).kneighbors(image_ND)[1]
    assert consistency.nearest(image_ND, train_MD, 7, chunk_rows=9, tile_rows=31).tolist() == theirs.tolist()


def shrunk(row: list[int]) -> int:
    """The vote by its definition."""
    ranking = Counter(row).most_common()
    return ranking[0][0] if len(ranking) == 1 or ranking[0][1] > ranking[1][1] else shrunk(row[:-1])


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=8), st.integers(1, 9))
def test_the_vote_is_its_definition(rows: list[list[int]], k: int) -> None:
    assert consistency.vote(np.array(rows), k).tolist() == [shrunk(row[:k]) for row in rows]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_a_gpu_finds_the_same() -> None:
    rng = np.random.default_rng(0)
    arrays = normalise(rng.normal(size=(40, 8))), normalise(rng.normal(size=(200, 8)))
    found = consistency.nearest(*arrays, 7, device="cuda", chunk_rows=9, tile_rows=31)
    assert found.tolist() == consistency.nearest(*arrays, 7).tolist()
