import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.demo import artwork, emoji
from tests.pipelines.tiny_packages import lay_packages


def test_every_vendors_pictures_are_flat_on_white_in_their_own_format(tmp_path: Path) -> None:
    lay_packages(tmp_path, 2)
    for drawing in emoji.read(tmp_path):
        picture = artwork.picture(drawing)
        encoding, width_px = artwork.FORMATS[drawing.vendor]
        with Image.open(io.BytesIO(picture.content)) as image:
            assert (image.format, image.mode, image.width) == (encoding, "RGB", width_px)
            assert np.asarray(image)[-1, 0].min() > 245
        assert picture == artwork.picture(drawing)


def test_line_art_is_black_on_white(tmp_path: Path) -> None:
    lay_packages(tmp_path, 1)
    image = np.asarray(artwork.paint(tmp_path / "openmoji/black/svg/1F600.svg", 72))
    assert image.min() < 100
    assert image.max() == 255
    assert (image.max(axis=2) - image.min(axis=2)).max() == 0  # no colour at all


def test_a_tall_picture_keeps_its_shape(tmp_path: Path) -> None:
    Image.new("RGBA", (100, 150), (255, 0, 0, 0)).save(tmp_path / "tall.png")
    image = artwork.paint(tmp_path / "tall.png", 50)
    assert image.size == (50, 75)
    assert image.getextrema() == ((255, 255),) * 3  # what is transparent is white, whatever its hidden colour


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.svg").write_text("<svg", encoding="utf-8")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for name in ("bad.svg", "bad.png"):
        with pytest.raises(ValueError, match=f"{name}: not a picture"):
            artwork.paint(tmp_path / name, 64)
