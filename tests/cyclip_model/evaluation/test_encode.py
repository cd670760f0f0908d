"""Features are what open_clip computes, in order, whatever the last batch's size."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from cyclip_model.evaluation import encode
from cyclip_model.model import towers
from tests.cyclip_model import small_set


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> towers.Loaded:
    return towers.load(small_set.write_model(tmp_path_factory.mktemp("models") / "clip-0"))


PICTURES = [small_set.drawing(colour, kind, "noto") for colour in small_set.COLOURS for kind in small_set.KINDS]


def test_images_are_in_order_and_not_normalised(loaded: towers.Loaded) -> None:
    found = encode.images(loaded, PICTURES[:5], 2).features
    with torch.no_grad():
        pixels = [loaded.preprocess(Image.open(io.BytesIO(picture))) for picture in PICTURES[:5]]
        one_by_one = [loaded.model.encode_image(one[None]) for one in pixels]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, torch.cat(one_by_one).numpy(), rtol=1e-4, atol=1e-6)
    assert not np.allclose(np.linalg.norm(found, axis=1), 1)


def test_texts_are_in_order(loaded: towers.Loaded) -> None:
    found = encode.texts(loaded, ["red circle", "blue flag", "red circle"], 2)
    assert found.shape == (3, 16)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
    assert not np.allclose(found[0], found[1])


def test_equal_calls_are_bit_equal(loaded: towers.Loaded) -> None:
    assert np.array_equal(
        encode.images(loaded, PICTURES, 7).features, encode.images(loaded, iter(PICTURES), 7).features
    )


def test_the_model_stays_in_eval_mode(loaded: towers.Loaded) -> None:
    encode.images(loaded, PICTURES[:2], 2)
    assert not loaded.model.training
