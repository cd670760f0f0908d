"""Geometry on unit vectors of the plane."""

import math

import numpy as np
import pytest

from cyclip_model.metrics import geometry

X, Y = [1.0, 0.0], [0.0, 1.0]


def test_alignment_is_a_squared_distance() -> None:
    assert geometry.alignment(np.array([X, Y]), np.array([X, Y])) == 0.0
    assert geometry.alignment(np.array([X, Y]), np.array([Y, X])) == 2.0


def test_uniformity_leaves_the_diagonal_out() -> None:
    assert geometry.uniformity(np.array([X, Y]), np.array([X, Y])) == pytest.approx(-4.0)
    assert geometry.uniformity(np.array([X, X]), np.array([X, X])) == 0.0
    assert geometry.uniformity(np.array([X, X]), np.array([X, Y])) == pytest.approx(math.log((1 + math.exp(-4)) / 2))


def test_label_forms() -> None:
    images, classes, labels = np.array([X, Y]), np.array([X, Y]), np.array([0, 0])
    assert geometry.label_alignment(images, classes, labels) == 0.5
    assert geometry.label_uniformity(images, classes, labels) == pytest.approx(math.log((1 + math.exp(-1)) / 2))


def test_modality_gap_is_the_distance_of_means() -> None:
    assert geometry.modality_gap(np.array([X, X]), np.array([Y, Y])) == pytest.approx(math.sqrt(2))
    assert geometry.modality_gap(np.array([X, Y]), np.array([Y, X])) == 0.0


def test_in_modal_gap_by_hand() -> None:
    assert geometry.in_modal_gap(np.array([X, Y]), np.array([X, X])) == 0.5, "two of four cosines differ by 1"


def test_cross_modal_gap_by_hand_and_zero_for_symmetric_spaces() -> None:
    assert geometry.cross_modal_gap(np.array([X, Y]), np.array([X, X])) == 0.5, "<I_1,T_2> = 1, <I_2,T_1> = 0"
    assert geometry.cross_modal_gap(np.array([X, Y]), np.array([X, Y])) == 0.0


def test_the_gaps_are_cyclips_terms_over_n() -> None:
    rng = np.random.default_rng(0)
    image, text = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in rng.normal(size=(2, 9, 4)))
    in_modal = sum((image[j] @ image[k] - text[j] @ text[k]) ** 2 for j in range(9) for k in range(9))
    cross = sum((image[j] @ text[k] - image[k] @ text[j]) ** 2 for j in range(9) for k in range(9))
    assert geometry.in_modal_gap(image, text) == pytest.approx(in_modal / 81)
    assert geometry.cross_modal_gap(image, text) == pytest.approx(cross / 81)


@pytest.mark.parametrize("chunk_rows", [1, 4, 9, 30])
def test_blocks_move_nothing_but_the_rounding(chunk_rows: int) -> None:
    rng = np.random.default_rng(0)
    image, text = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in rng.normal(size=(2, 9, 4)))
    for name in ("uniformity", "in_modal_gap", "cross_modal_gap"):
        taken = getattr(geometry, name)
        assert taken(image, text, chunk_rows=chunk_rows) == pytest.approx(taken(image, text), rel=1e-12)
    label_N = rng.integers(0, 5, 9)
    for taken in (geometry.label_alignment, geometry.label_uniformity):
        found = taken(image, text[:5], label_N, chunk_rows=chunk_rows)
        assert found == pytest.approx(taken(image, text[:5], label_N), rel=1e-12)


def test_uniformity_and_the_labels_forms_by_plain_loops() -> None:
    rng = np.random.default_rng(1)
    image, text = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in rng.normal(size=(2, 6, 4)))
    pairs = [math.exp(-2 * math.dist(image[j], text[k]) ** 2) for j in range(6) for k in range(6) if j != k]
    assert geometry.uniformity(image, text, chunk_rows=4) == pytest.approx(math.log(sum(pairs) / 30))
    others = [math.exp(-(image[j] @ text[k])) for j in range(6) for k in range(3) if k != j % 3]
    assert geometry.label_uniformity(image, text[:3], np.arange(6) % 3) == pytest.approx(math.log(sum(others) / 12))
