"""Features are made once, and made again when what they depend on is another."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cyclip_model.evaluation.encoder import Encoder, cache_folder
from cyclip_model.model import towers
from lineage import stage
from tests.cyclip_model import small_set

PICTURES = [small_set.drawing(colour, "round-things", "noto") for colour in small_set.COLOURS]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> towers.Loaded:
    return towers.load(small_set.write_model(tmp_path_factory.mktemp("models") / "clip-0"))


def unread() -> Iterator[bytes]:
    raise AssertionError("read again")
    yield b""


def test_pictures_are_not_even_read_again(loaded: towers.Loaded, tmp_path: Path) -> None:
    first = Encoder(loaded, None, 4, tmp_path).pictures("test", iter(PICTURES), len(PICTURES))
    again = Encoder(loaded, None, 4, tmp_path).pictures("test", unread(), len(PICTURES))
    assert np.array_equal(first.features, again.features)
    assert np.array_equal(first.backbone, again.backbone)
    with pytest.raises(AssertionError, match="read again"):
        Encoder(loaded, None, 4, tmp_path).pictures("train", unread(), len(PICTURES))
    with pytest.raises(AssertionError, match="read again"):
        Encoder(loaded, None, 4, None).pictures("test", unread(), len(PICTURES))


def test_another_number_of_rows_or_a_damaged_file_is_made_again(loaded: towers.Loaded, tmp_path: Path) -> None:
    first = Encoder(loaded, None, 4, tmp_path).pictures("test", PICTURES, len(PICTURES))
    assert len(Encoder(loaded, None, 4, tmp_path).pictures("test", PICTURES[:2], 2).features) == 2
    path = next(tmp_path.glob("test-features.npy"))
    path.write_bytes(path.read_bytes()[:40])
    mended = Encoder(loaded, None, 4, tmp_path).pictures("test", PICTURES, len(PICTURES))
    assert np.array_equal(first.features, mended.features)


def test_texts_come_in_their_order_and_equal_ones_are_one(loaded: towers.Loaded, tmp_path: Path) -> None:
    lines = ["red ball", "a", "red ball", "blue flag"]
    for _ in range(2):
        found = Encoder(loaded, None, 2, tmp_path).texts(lines)
        assert np.array_equal(found[0], found[2])
        assert not np.array_equal(found[0], found[1])
    assert len(list(tmp_path.glob("texts-*.npy"))) == 1
    Encoder(loaded, None, 2, tmp_path).texts(["another"])
    assert len(list(tmp_path.glob("texts-*.npy"))) == 2


def test_features_of_another_model_or_set_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = cache_folder("clip-0", "cifar10", {"set": "a"})
    assert folder.is_relative_to(stage.WORK / "features/clip-0/cifar10")
    folder.mkdir(parents=True)
    other_set = cache_folder("clip-0", "coco", {"set": "a"})
    other_set.mkdir(parents=True)
    assert cache_folder("clip-0", "cifar10", {"set": "a"}) == folder
    assert folder.is_dir()
    assert cache_folder("clip-0", "cifar10", {"set": "b"}) != folder
    assert not folder.exists()
    assert other_set.is_dir()
