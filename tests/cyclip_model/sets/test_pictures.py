"""Pictures of evaluation sets: what is stored as found, and what becomes PNG."""

import io

import numpy as np
import pytest
from PIL import Image

from cyclip_model.sets.pictures import UndecodableError, as_png, decode, storable
from tests.cyclip_model.sets.laid import picture


@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "WEBP"])
def test_these_are_stored_as_found(suffix: str) -> None:
    assert storable(picture(3, suffix), 64) == picture(3, suffix)
    assert storable(b"no picture at all", 64) == b"no picture at all", "what it is, decoding tells"


@pytest.mark.parametrize("suffix", ["PPM", "BMP", "GIF"])
def test_these_become_png_within_the_bound(suffix: str) -> None:
    made = storable(picture(3, suffix), 64)
    assert made.startswith(b"\x89PNG")
    assert np.asarray(decode(made, 64))[0, 0].tolist() == [3, 252, 7]
    with pytest.raises(UndecodableError, match="too_many_pixels"):
        storable(picture(3, suffix), 63)
    with pytest.raises(UndecodableError, match=r"truncated|undecodable"):
        storable(picture(3, suffix)[:20], 64)


def test_the_same_pixels_are_the_same_png() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (9, 5, 3), dtype=np.uint8)
    made = as_png(Image.fromarray(rgb))
    assert made == as_png(Image.fromarray(rgb.copy()))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(made))), rgb)


def test_one_that_scaling_would_blow_up_cannot_be_used() -> None:
    """1 x 500,000 pixels are 1.5 kB of PNG, and gigabytes once the short side is as long as a tower wants it."""
    assert decode(as_png(Image.new("RGB", (200, 1))), 1000).size == (200, 1)
    for size in ((201, 1), (1, 201)):
        with pytest.raises(UndecodableError, match="too_elongated"):
            decode(as_png(Image.new("RGB", size)), 1000)
