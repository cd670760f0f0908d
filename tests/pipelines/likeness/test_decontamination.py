"""decontamination finds the nearest evaluation picture, exactly: pipelines/likeness/decontamination.py."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.likeness import decontamination

crowded = st.lists(st.sampled_from([0, 1, 3, 7, 2**63, 2**64 - 1, 2**64 - 2, 0xFF << 20]), max_size=30).map(
    lambda values: np.array(values, np.uint64)
)


def test_the_nearest_hash_by_eye() -> None:
    tests = np.array([0b1111, 0b0000, 0b0000, 1 << 60], np.uint64)
    distance, index = decontamination.nearest_hash(np.array([0b0001, 0b0111, 0b0011, 2**64 - 1], np.uint64), tests, 2)
    assert distance.tolist() == [1, 1, 2, -1]
    assert index.tolist() == [1, 0, 0, -1]
    assert distance.dtype == index.dtype == np.dtype(np.int64)


@given(crowded, crowded, st.integers(0, 24))
@settings(deadline=None)
def test_the_nearest_hash_is_that_of_brute_force(hashes: np.ndarray, tests: np.ndarray, most: int) -> None:
    distance, index = decontamination.nearest_hash(hashes, tests, most)
    for row, value in enumerate(hashes.tolist()):
        found = [((value ^ test).bit_count(), place) for place, test in enumerate(tests.tolist())]
        expected = min((pair for pair in found if pair[0] <= most), default=(-1, -1))
        assert (distance[row], index[row]) == expected


@given(crowded, crowded, st.integers(0, 24))
@settings(deadline=None)
def test_only_confirmed_tests_count(hashes: np.ndarray, tests: np.ndarray, most: int) -> None:
    distance, index = decontamination.nearest_hash(hashes, tests, most, confirm=lambda i, j: (i + j) % 3 == 0)
    for row, value in enumerate(hashes.tolist()):
        found = [((value ^ test).bit_count(), place) for place, test in enumerate(tests.tolist())]
        expected = min((pair for pair in found if pair[0] <= most and (row + pair[1]) % 3 == 0), default=(-1, -1))
        assert (distance[row], index[row]) == expected


def test_rows_are_judged_alone() -> None:
    random = np.random.default_rng(0)
    tests = random.integers(0, 2**64, 500, np.uint64)
    hashes = np.concatenate([tests[:40] ^ np.uint64(5), random.integers(0, 2**64, 400, np.uint64)])
    distance, index = decontamination.nearest_hash(hashes, tests, 4)
    assert distance[:40].tolist() == [2] * 40
    assert index[:40].tolist() == list(range(40))
    assert distance[40:].tolist() == [-1] * 400
    for part in (slice(0, 7), slice(30, 200)):
        alone = decontamination.nearest_hash(hashes[part], tests, 4)
        assert [column.tolist() for column in alone] == [distance[part].tolist(), index[part].tolist()]


def test_a_hash_distance_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 24 bits"):
        decontamination.nearest_hash(np.zeros(1, np.uint64), np.zeros(1, np.uint64), 25)


def test_the_nearest_vector_names_the_planted_picture() -> None:
    random = np.random.default_rng(0)
    tests = random.standard_normal((200, 32))
    planted = tests[[3, 50]] + 0.05 * random.standard_normal((2, 32))
    vectors = np.concatenate([planted, random.standard_normal((5, 32))])
    tests, vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (tests, vectors))
    cosine, index = decontamination.nearest_vector(vectors.astype(np.float16), tests.astype(np.float16))
    assert index[:2].tolist() == [3, 50]
    assert (cosine[:2] > 0.99).all()
    assert (cosine[2:] < 0.8).all()
