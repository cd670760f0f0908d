"""hamming finds every pair of hashes within a distance, whatever the hashes, and each once."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.likeness import hamming

word = st.integers(0, 2**64 - 1)


@given(word, st.integers(0, 24), st.integers(0, 3), st.data())
def test_hashes_within_the_distance_agree_on_a_mask(
    first: int, max_distance: int, num_matched: int, data: st.DataObject
) -> None:
    places = data.draw(st.sets(st.integers(0, 63), max_size=max_distance))
    second = first ^ sum(1 << place for place in places)
    masks = hamming.band_masks(max_distance, num_matched=num_matched)
    assert len(masks) == math.comb(max_distance + num_matched, num_matched)
    assert any((first ^ second) & mask == 0 for mask in masks)


def test_single_bands_part_the_64_bits_evenly() -> None:
    masks = hamming.band_masks(6)
    assert [mask.bit_count() for mask in masks] == [10, 9, 9, 9, 9, 9, 9]
    assert sum(masks) == 2**64 - 1


def test_bits_left_out_are_in_no_mask() -> None:
    masks = hamming.band_masks(2, bits=0xFF)
    assert [f"{mask:08b}" for mask in masks] == ["01001001", "10010010", "00100100"]


@pytest.mark.parametrize("small_group", [2, 5, 1000])
@pytest.mark.parametrize("block_pairs", [1, 40, 1 << 22])
@pytest.mark.parametrize("max_distance", [0, 1, 3, 9, 24])
def test_every_pair_comes_once_by_whatever_road(
    monkeypatch: pytest.MonkeyPatch, max_distance: int, block_pairs: int, small_group: int
) -> None:
    monkeypatch.setattr(hamming, "_SMALL_GROUP", small_group)
    monkeypatch.setattr(hamming, "_BLOCK_PAIRS", block_pairs)
    hashes = crowd(np.random.default_rng(7), 60)
    found = [pair for block in hamming.pair_blocks(hashes, max_distance) for pair in zip(*block, strict=True)]
    assert sorted(found) == brute_force(hashes, max_distance)
    assert len(found) > 20
    left, right = hashes[:25], hashes[25:]
    across = [pair for block in hamming.pair_blocks(left, max_distance, right) for pair in zip(*block, strict=True)]
    expected = [(i, j - 25, distance) for i, j, distance in brute_force(hashes, max_distance) if i < 25 <= j]
    assert sorted(across) == expected
    assert expected


@pytest.mark.parametrize("num_matched", [0, 1, 2, 3])
def test_any_choice_of_masks_is_exact(monkeypatch: pytest.MonkeyPatch, num_matched: int) -> None:
    hashes = crowd(np.random.default_rng(8), 60)
    masks = hamming.band_masks(4, num_matched=num_matched)
    monkeypatch.setattr(hamming, "_best_masks", lambda *_: masks)
    found = [pair for block in hamming.pair_blocks(hashes, 4) for pair in zip(*block, strict=True)]
    assert sorted(found) == brute_force(hashes, 4)


def test_more_rows_are_cut_finer() -> None:
    few, many = (np.random.default_rng(0).integers(0, 2**64, size, np.uint64) for size in (100, 1_000_000))
    assert len(hamming._best_masks(few, 6)) == 1
    assert len(hamming._best_masks(many, 6)) == 7


@pytest.mark.parametrize("bad", [-1, 25])
def test_a_distance_out_of_range_is_refused(bad: int) -> None:
    for hashes, against in (
        (crowd(np.random.default_rng(0), 9), None),
        (np.empty(0, np.uint64), np.empty(0, np.uint64)),
    ):
        with pytest.raises(ValueError, match="max_distance must be 0 to 24 bits"):
            list(hamming.pair_blocks(hashes, bad, against))


def crowd(random: np.random.Generator, size: int) -> np.ndarray:
    """A third strangers, a third equal, a third near each other, shuffled."""
    hashes = random.integers(0, 2**64, size, np.uint64)
    third = size // 3
    hashes[:third] = hashes[0]
    for _ in range(4):
        hashes[third : 2 * third] = hashes[third] ^ (np.uint64(1) << random.integers(0, 64, third).astype(np.uint64))
    return random.permutation(hashes)


def brute_force(hashes: np.ndarray, max_distance: int) -> list[tuple[int, int, int]]:
    values = hashes.tolist()
    pairs = itertools.combinations(range(len(values)), 2)
    distances = [(i, j, (values[i] ^ values[j]).bit_count()) for i, j in pairs]
    return [pair for pair in distances if pair[2] <= max_distance]
