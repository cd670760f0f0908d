"""cosines are the same in blocks of any size and on any number of threads: pipelines/likeness/cosines.py."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pipelines.likeness import cosines


def unit(shape: tuple[int, int], seed: int = 0, dtype: type = np.float16) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal(shape)
    made: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)
    return made


def test_pairs_by_eye() -> None:
    left, right = np.array([[1, 0], [0.6, 0.8]], np.float32), np.array([[0, 1], [-1, 0]], np.float32)
    assert cosines.of_pairs(left, right, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])).tolist() == [0, -1, 0.8, -0.6]


def test_the_nearest_is_the_first_of_equals() -> None:
    others = np.array([[0, 1], [1, 0], [1, 0], [0.6, 0.8]], np.float16)
    cosine, index = cosines.nearest(np.array([[1, 0], [0.6, 0.8], [0, -1]], np.float16), others)
    assert index.tolist() == [1, 3, 1]
    assert cosine == pytest.approx([1, 1, 0], abs=1e-3)


def test_nothing_is_near_where_there_is_nothing() -> None:
    cosine, index = cosines.nearest(unit((2, 3)), np.empty((0, 3), np.float16))
    assert (cosine.tolist(), index.tolist()) == ([-1, -1], [-1, -1])
    cosine, index = cosines.nearest(np.empty((0, 3), np.float16), unit((2, 3)))
    assert (len(cosine), len(index)) == (0, 0)


def test_nearest_and_at_least_are_those_of_plain_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, others = unit((70, 16)), unit((90, 16), seed=1)
    others[40:] = others[:50]  # ties
    plain = np.round(vectors.astype(np.float64) @ others.astype(np.float64).T, 6)
    for products in (1, 200, 1 << 23):
        monkeypatch.setattr(cosines, "_BLOCK_PRODUCTS", products)
        cosine, index = cosines.nearest(vectors, others)
        assert cosine.tolist() == plain.max(axis=1).tolist()
        assert index.tolist() == plain.argmax(axis=1).tolist()
        i, j, found = cosines.at_least(vectors, others, 0.5)
        assert list(zip(i, j, strict=True)) == [tuple(pair) for pair in np.argwhere(plain >= 0.5)]
        assert found.tolist() == plain[plain >= 0.5].tolist()


def test_blocks_cover_every_row_within_the_bound() -> None:
    parts = cosines.blocks(10, 1 << 21)
    assert [row for part in parts for row in range(10)[part]] == list(range(10))
    assert all(len(range(10)[part]) << 21 <= 1 << 23 for part in parts)


def test_a_threshold_is_met_exactly_by_equal_vectors() -> None:
    vectors = unit((300, 512), dtype=np.float32)
    i, j, cosine = cosines.at_least(vectors, vectors, 1.0)
    assert i.tolist() == j.tolist() == list(range(300))
    assert set(cosine.tolist()) == {1.0}


def test_bytes_are_the_same_on_one_thread_and_on_two() -> None:
    script = (
        "import hashlib, sys, numpy as np; from pipelines.likeness import cosines;"
        "r = np.random.default_rng(0).standard_normal((900, 96)); r /= np.linalg.norm(r, axis=1, keepdims=True);"
        "r = r.astype(np.float32); found = [*cosines.nearest(r[:400], r[400:]), *cosines.at_least(r, r, 0.2)];"
        "sys.stdout.write(hashlib.sha256(b''.join(a.tobytes() for a in found)).hexdigest())"
    )
    digests = set()
    for threads in ("1", "2"):
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        ran = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        digests.add(ran.stdout)
    assert len(digests) == 1
    assert len(digests.pop()) == 64
