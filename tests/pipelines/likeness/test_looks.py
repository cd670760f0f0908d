"""looks tells pictures apart that have one perceptual hash: pipelines/likeness/looks.py."""

import cv2
import numpy as np
import pyarrow as pa
import pytest

from lineage import phash
from pipelines.likeness import looks


def book(colour: tuple[int, int, int]) -> np.ndarray:
    canvas = np.full((96, 96, 3), 255, np.uint8)
    cv2.rectangle(canvas, (20, 10), (76, 86), colour, -1)
    cv2.rectangle(canvas, (30, 24), (66, 34), (255, 255, 255), -1)
    return canvas


def thumbnail(rgb: np.ndarray) -> np.ndarray:
    return np.frombuffer(phash.thumbnail(rgb), np.uint8)


def test_a_green_book_is_no_orange_book_though_their_hashes_are_alike() -> None:
    green, orange = book((40, 160, 60)), book((230, 120, 20))
    small = cv2.resize(green, (64, 64), interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 70])
    again = np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])
    assert done
    assert phash.hamming(phash.perceptual_hash(green), phash.perceptual_hash(orange)) <= 2
    both = np.stack([thumbnail(green), thumbnail(orange), thumbnail(again)])
    to_orange, to_again = looks.differences(both, both, np.array([0, 0]), np.array([1, 2]))
    assert to_again < 4 < 40 < to_orange


def test_the_difference_by_eye() -> None:
    black, grey = np.zeros((1, 192), np.uint8), np.full((1, 192), 200, np.uint8)
    one = black.copy()
    one[0, 0] = 12
    zero = np.array([0])
    assert looks.differences(black, grey, zero, zero).tolist() == [200]
    assert looks.differences(one, black, zero, zero).tolist() == [np.sqrt(144 / 192)]


def test_the_nearest_is_that_of_plain_integers_the_first_of_equals(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    left, right = (random.integers(0, 256, (size, 192), np.uint8) for size in (60, 80))
    right[40:] = right[:40]
    left[:3], left[3], right[7] = right[5:8], 255, 255
    plain = ((left[:, None].astype(np.int64) - right[None]) ** 2).sum(axis=2)
    for products in (1, 300, 1 << 23):
        monkeypatch.setattr("pipelines.likeness.cosines._BLOCK_PRODUCTS", products)
        difference, index = looks.nearest(left, right)
        assert index.tolist() == plain.argmin(axis=1).tolist()
        assert difference.tolist() == np.sqrt(plain.min(axis=1) / 192).tolist()
    difference, index = looks.nearest(left, right[:0])
    assert set(difference.tolist()) == {np.inf}
    assert set(index.tolist()) == {-1}


def test_a_column_keeps_its_nulls_and_refuses_another_length() -> None:
    column = pa.chunked_array([[bytes(range(192)), None], [bytes(192)]], pa.binary())
    thumbnails, known = looks.thumbnails_of(column)
    assert thumbnails.shape == (3, 192)
    assert thumbnails[0].tolist() == list(range(192))
    assert known.tolist() == [True, False, True]
    with pytest.raises(ValueError, match="row 1: a thumbnail has 2 bytes, not 192"):
        looks.thumbnails_of(pa.array([None, b"xy"], pa.binary()))
    assert looks.thumbnails_of(pa.array([], pa.binary()))[0].shape == (0, 192)
