"""Winoground's three scores on examples checked by eye."""

import numpy as np
import pytest

from cyclip_model.metrics import winoground

EXAMPLES = np.array(
    [
        [[0.9, 0.1], [0.2, 0.8]],  # all is told apart
        [[0.9, 0.8], [0.6, 0.7]],  # own captions ahead (0.9 > 0.8, 0.7 > 0.6); caption 1 prefers picture 0 (0.8 > 0.7)
        [[0.9, 0.6], [0.8, 0.7]],  # own pictures ahead (0.9 > 0.8, 0.7 > 0.6); picture 1 prefers caption 0 (0.8 > 0.7)
        [[0.1, 0.9], [0.9, 0.1]],  # the wrong way round
        [[0.5, 0.5], [0.5, 0.5]],  # a tie is no hit
    ]
)


def test_each_score_by_eye() -> None:
    text_E, image_E, group_E = winoground.scores(EXAMPLES)
    assert text_E.tolist() == [True, True, False, False, False]
    assert image_E.tolist() == [True, False, True, False, False]
    assert group_E.tolist() == [True, False, False, False, False]


def test_transposed_examples_swap_text_and_image() -> None:
    cosine_E22 = np.random.default_rng(0).random((200, 2, 2))
    text_E, image_E, _ = winoground.scores(cosine_E22)
    swapped = winoground.scores(cosine_E22.swapaxes(1, 2))
    assert text_E.any() and not text_E.all()
    assert [score.tolist() for score in swapped[:2]] == [image_E.tolist(), text_E.tolist()]


def test_random_cosines_reach_the_known_chance() -> None:
    found = [score.mean() for score in winoground.scores(np.random.default_rng(0).random((60_000, 2, 2)))]
    assert found == pytest.approx([1 / 4, 1 / 4, 1 / 6], abs=0.01)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="two pictures and two captions"):
        winoground.scores(np.zeros((3, 2, 3)))


def test_what_a_float32_tower_cannot_tell_apart_is_a_tie() -> None:
    cosine_E22 = np.array([[[0.5 + 1e-8, 0.5], [0.5, 0.5 + 1e-8]]])
    assert [bool(each[0]) for each in winoground.scores(cosine_E22)] == [False, False, False]
