"""What a set.json may say."""

from pathlib import Path
from typing import Any

import pytest

from cyclip_model.sets import description
from tests.cyclip_model.sets import laying


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"colour": 1}, r"unknown key set\.colour"),
        ({"name": "other"}, "name is 'other', but the folder is 'beasts'"),
        ({"download": True}, "download needs a path"),
        ({"parts": ["train"]}, "parts must be"),
        ({"templates": ["a photo"]}, "templates must be texts"),
        ({"templates": "mine"}, "templates must be own, imagenet or a list"),
        ({"max_pixels": 0}, "max_pixels must be at least 1"),
    ],
)
def test_a_wrong_key_is_explained(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        description.read(laying.describe(tmp_path / "beasts", "sts", **more))


def test_a_picture_outside_the_folder_is_refused(tmp_path: Path) -> None:
    laying.put(tmp_path / "secret.png", b"x")
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="leads out of"):
        description.only_picture(tmp_path / "images", "../secret.png", "row 1")
