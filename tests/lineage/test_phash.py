"""Perceptual hashes are near for near pictures, far for others; pixel hashes are exact."""

import cv2
import numpy as np
import pytest

from lineage import phash


@pytest.fixture
def picture() -> np.ndarray:
    canvas = np.full((96, 128, 3), 255, np.uint8)
    cv2.circle(canvas, (40, 40), 25, (200, 30, 30), -1)
    cv2.rectangle(canvas, (70, 20), (110, 80), (20, 90, 200), -1)
    return canvas


def test_a_hash_has_64_bits_and_its_hex_form_16_digits(picture: np.ndarray) -> None:
    value = phash.perceptual_hash(picture)
    assert 0 < value < 1 << 64
    assert len(phash.hex_hash(value)) == 16
    assert int(phash.hex_hash(value), 16) == value
    assert phash.hex_hash(5) == "0000000000000005"


def test_a_smaller_or_recompressed_copy_is_near(picture: np.ndarray) -> None:
    value = phash.perceptual_hash(picture)
    smaller = cv2.resize(picture, (64, 48), interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert done
    for copy in (smaller, cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.clip(picture + np.uint8(0), 0, 250)):
        assert phash.hamming(value, phash.perceptual_hash(copy.astype(np.uint8))) <= 6


def test_another_picture_is_far(picture: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 256, picture.shape, dtype=np.uint8)
    for other in (noise, np.ascontiguousarray(picture[:, ::-1])):
        assert phash.hamming(phash.perceptual_hash(picture), phash.perceptual_hash(other)) > 15


def test_hamming_counts_bits() -> None:
    assert [phash.hamming(0, 0), phash.hamming(0b1010, 0b0110), phash.hamming(0, (1 << 64) - 1)] == [0, 2, 64]


def test_pixel_hashes_know_shape_and_every_pixel(picture: np.ndarray) -> None:
    value = phash.pixel_sha256(picture)
    assert value == phash.pixel_sha256(np.asfortranarray(picture))
    assert value != phash.pixel_sha256(picture.reshape(128, 96, 3))
    picture[0, 0, 0] ^= 1
    assert value != phash.pixel_sha256(picture)


def test_a_thumbnail_tells_colours_apart_that_the_hash_does_not() -> None:
    drawing = np.full((64, 64, 3), 255, np.uint8)
    orange, green = drawing.copy(), drawing.copy()
    orange[16:48, 16:48], green[16:48, 16:48] = (230, 120, 20), (20, 190, 150)
    assert phash.perceptual_hash(orange) == phash.perceptual_hash(green)
    assert phash.thumbnail(orange) != phash.thumbnail(green)
    small = np.frombuffer(phash.thumbnail(orange), np.uint8).reshape(8, 8, 3)
    assert small[0, 0].tolist() == [255, 255, 255]
    assert small[4, 4].tolist() == [230, 120, 20]


def test_a_symmetric_drawing_stays_near_its_copies() -> None:
    hourglass = np.full((72, 72, 3), 255, np.uint8)
    cv2.fillPoly(
        hourglass, [np.array([[12, 8], [59, 8], [36, 36]]), np.array([[36, 35], [12, 63], [59, 63]])], (90, 60, 20)
    )
    value = phash.perceptual_hash(hourglass)
    done, encoded = cv2.imencode(".jpg", hourglass, [cv2.IMWRITE_JPEG_QUALITY, 70])
    assert done
    assert phash.hamming(value, phash.perceptual_hash(cv2.imdecode(encoded, cv2.IMREAD_COLOR))) <= 3
