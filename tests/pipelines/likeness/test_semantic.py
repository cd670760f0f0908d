"""semantic removes what is close in the scorer's space, inside clusters that never move."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.likeness import near, semantic


def unit(rows: np.ndarray, dtype: type = np.float16) -> np.ndarray:
    made: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(dtype)
    return made


def groups(num_groups: int, size: int, spread: float, seed: int = 0) -> np.ndarray:
    """Rows in groups round random directions, one group after the other."""
    random = np.random.default_rng(seed)
    centres = unit(random.standard_normal((num_groups, 24)), np.float64)
    return unit(np.repeat(centres, size, axis=0) + spread * random.standard_normal((num_groups * size, 24)))


def plain_pairs(vectors: np.ndarray, cluster: np.ndarray, min_cosine: float) -> list[tuple[int, int]]:
    cosine = np.round(vectors.astype(np.float64) @ vectors.astype(np.float64).T, 6)
    same = cluster[:, None] == cluster[None]
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(same & (cosine >= min_cosine), 1))]


def test_groups_that_lie_apart_become_clusters() -> None:
    vectors = groups(4, 50, 0.02)
    centres = semantic.freeze_centres(vectors, 12, seed=0)
    assert (centres.shape, str(centres.dtype)) == ((12, 24), "float32")
    assert np.linalg.norm(centres, axis=1) == pytest.approx(1, abs=1e-6)
    cluster = semantic.assign(vectors, centres)
    assert all(not set(cluster[:50]) & set(cluster[start : start + 50]) for start in (50, 100, 150))


def test_assign_by_eye() -> None:
    centres = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    assert semantic.assign(np.array([[0.9, 0.1], [0.1, 0.9], [0, -1]], np.float16), centres).tolist() == [0, 1, 0]


def test_where_there_are_fewer_rows_than_clusters_each_is_a_centre() -> None:
    vectors = np.eye(3, dtype=np.float16)
    assert semantic.freeze_centres(vectors, 9, seed=0).tolist() == np.eye(3).tolist()
    for rows, num_clusters in ((vectors, 0), (vectors[:0], 2)):
        with pytest.raises(ValueError, match="clusters need rows and num_clusters >= 1"):
            semantic.freeze_centres(rows, num_clusters, seed=0)


def test_equal_rows_leave_clusters_empty_and_no_centre_is_lost() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float16), 40, axis=0)
    centres = semantic.freeze_centres(vectors, 10, seed=1)
    assert np.isfinite(centres).all()
    assert {tuple(row) for row in centres.tolist()} <= {tuple(row) for row in np.eye(3).tolist()}
    opposite = np.array([[1, 0], [-1, 0]], np.float16)  # their mean has no direction
    assert np.linalg.norm(semantic.freeze_centres(opposite, 1, seed=0)) == pytest.approx(1)


def test_centres_are_the_same_bytes_again_on_other_threads_and_of_a_sample() -> None:
    script = (
        "import hashlib, sys, numpy as np; from pipelines.likeness import semantic; semantic._SAMPLE_PER_CLUSTER = 40;"
        "r = np.random.default_rng(0).standard_normal((3000, 64)); r /= np.linalg.norm(r, axis=1, keepdims=True);"
        "c = semantic.freeze_centres(r.astype(np.float16), 20, seed=3);"
        "sys.stdout.write(hashlib.sha256(c.tobytes()).hexdigest())"
    )
    digests = set()
    for threads in ("1", "2", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        ran = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(ran.stdout)
    assert len(digests) == 1
    assert digests != {hashlib.sha256(b"").hexdigest()}


@pytest.mark.parametrize("products", [1, 300, 1 << 23])
def test_pairs_are_those_of_plain_float64_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch, products: int) -> None:
    monkeypatch.setattr("pipelines.likeness.cosines._BLOCK_PRODUCTS", products)
    vectors = np.concatenate([groups(3, 20, 0.05), groups(1, 20, 0.05)])
    cluster = np.arange(80) % 3
    i, j, cosine = semantic.pairs_within_clusters(vectors, cluster, 0.95)
    assert list(zip(i, j, strict=True)) == plain_pairs(vectors, cluster, 0.95)
    assert (cosine >= 0.95).all()
    assert 50 < len(i) < 2000


@given(st.integers(0, 1000), st.integers(1, 4), st.floats(0.5, 1), st.integers(0, 20))
@settings(deadline=None, max_examples=40)
def test_duplicates_are_the_greedy_choice_over_the_pairs(
    seed: int, num_clusters: int, min_cosine: float, num_fixed: int
) -> None:
    vectors = groups(5, 12, 0.1, seed)
    random = np.random.default_rng(seed)
    cluster, rank = random.integers(0, num_clusters, 60), random.permutation(60)
    fixed = rank < num_fixed
    found = semantic.semantic_duplicates(vectors, cluster, rank, min_cosine, fixed_N=fixed)
    i, j, _ = semantic.pairs_within_clusters(vectors, cluster, min_cosine)
    assert found.tolist() == near.survivors(rank, i, j, fixed_N=fixed).tolist()


def test_the_first_snapshot_is_judged_as_if_alone() -> None:
    first, later = groups(4, 30, 0.05), groups(4, 20, 0.05, seed=0)
    centres = semantic.freeze_centres(first, 6, seed=0)
    alone = semantic.semantic_duplicates(first, semantic.assign(first, centres), np.arange(120), 0.97)
    both = np.concatenate([first, later])
    together = semantic.semantic_duplicates(both, semantic.assign(both, centres), np.arange(200), 0.97)
    assert together[:120].tolist() == alone.tolist()
    assert 0 < (alone >= 0).sum() < 120


def test_a_crowd_of_equal_pictures_is_decided_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "_MAX_LISTED", 1000)
    vectors = np.concatenate([np.repeat(groups(1, 1, 0.0), 500, axis=0), groups(5, 3, 0.5, seed=9)])
    found = semantic.semantic_duplicates(vectors, np.zeros(515, np.int64), np.arange(515), 0.99)
    assert found[:500].tolist() == [-1] + [0] * 499
    assert (found[500:] < 0).all()
