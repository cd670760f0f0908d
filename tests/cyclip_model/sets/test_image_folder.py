"""ImageNet, its shifts and other sets as folders of pictures, whole and broken."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclip_model.sets import wording
from lineage import digests
from tests.cyclip_model.sets.laid import ask, described, lay, picture, rows

TINY = "n01440764 n01443537 n01484850".split()
"""The first three ids of ImageNet: tench, goldfish, great white shark."""


@pytest.fixture
def three_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ImageNet of three classes, of which `a` has the second and third."""
    of = {"all": tuple(TINY), "a": tuple(TINY[1:]), "r": tuple(TINY[:1])}
    monkeypatch.setattr(wording, "wnids", lambda subset="all": of[subset])
    monkeypatch.setattr(wording, "imagenet_names", lambda: ["tench", "goldfish", "great white shark"])


def lay_down(root: Path, folders: list[str], *, backwards: bool = False) -> Path:
    """Two pictures a folder; the order in which they are made is the listing's on many file systems."""
    jobs = [(folder, n) for folder in folders for n in range(2)]
    for folder, n in reversed(jobs) if backwards else jobs:
        path = root / folder / f"x{n}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(20 * folders.index(folder) + 10 * n, "JPEG"))
    return root


@pytest.mark.usefixtures("three_classes")
def test_folders_named_by_wordnet_id_are_numbered_as_imagenet_numbers_them(tmp_path: Path) -> None:
    lay_down(tmp_path / "val", TINY)
    out, _ = lay(ask(tmp_path / "imagenet", "image_folder", path=str(tmp_path / "val")))
    said = described(out)
    assert said["classnames"] == ["tench", "goldfish", "great white shark"]
    assert len(said["templates"]) == 80
    assert [row["label"] for row in rows(out)] == [0, 0, 1, 1, 2, 2]
    assert [row["image"] for row in rows(out)] == [picture(10 * n, "JPEG") for n in range(6)]
    assert said["parent_classes"] is None


@pytest.mark.usefixtures("three_classes")
def test_a_shift_of_some_classes_knows_their_numbers_in_the_parent(tmp_path: Path) -> None:
    lay_down(tmp_path / "a", TINY[1:])
    asked = ask(tmp_path / "imagenet_a", "image_folder", path=str(tmp_path / "a"), classes="a", shift_of="imagenet")
    out, _ = lay(asked)
    said = described(out)
    assert (said["shift_of"], said["parent_classes"]) == ("imagenet", [1, 2])
    assert said["classnames"] == ["goldfish", "great white shark"]
    assert [row["label"] for row in rows(out)] == [0, 0, 1, 1]


@pytest.mark.usefixtures("three_classes")
def test_folders_named_by_number_as_in_imagenet_v2(tmp_path: Path) -> None:
    lay_down(tmp_path / "v2", ["0", "2", "1"])
    asked = ask(tmp_path / "v2set", "image_folder", path=str(tmp_path / "v2"), labels="number", shift_of="imagenet")
    out, _ = lay(asked)
    assert [row["image"] for row in rows(out)] == [picture(10 * n, "JPEG") for n in (0, 1, 4, 5, 2, 3)]
    assert described(out)["parent_classes"] is None


def test_folders_named_by_class_with_a_train_part(tmp_path: Path) -> None:
    for part in ("train", "test"):
        lay_down(tmp_path / "cub" / part, ["black_gull", "wren"])
    out, laid = lay(ask(tmp_path / "birds", "image_folder", path=str(tmp_path / "cub"), labels="name"))
    said = described(out)
    assert (said["classnames"], said["templates"]) == (["black gull", "wren"], ["a photo of a {}."])
    assert laid.parts == {"train": 4, "test": 4}
    assert laid.twins == {"test": 4}


def test_the_order_of_a_listing_changes_no_byte(tmp_path: Path) -> None:
    made = []
    for number, backwards in enumerate((False, True)):
        root = lay_down(tmp_path / str(number) / "pictures", ["wren", "gull"], backwards=backwards)
        asked = ask(tmp_path / str(number) / "birds", "image_folder", path=str(root), labels="name")
        made.append(digests.dvc_digest(lay(asked)[0]))
    assert made[0] == made[1]


def test_old_formats_become_png_pixel_for_pixel(tmp_path: Path) -> None:
    (tmp_path / "signs/stop").mkdir(parents=True)
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    for suffix in ("ppm", "bmp", "png"):
        Image.fromarray(rgb).save(tmp_path / f"signs/stop/x.{suffix}")
    out, _ = lay(ask(tmp_path / "s", "image_folder", path=str(tmp_path / "signs"), labels="name"))
    stored = rows(out)
    assert len({row["image"] for row in stored}) == 1
    assert stored[0]["image"].startswith(b"\x89PNG")
    assert (stored[0]["width"], stored[0]["height"], len(stored)) == (7, 5, 3)


@pytest.mark.usefixtures("three_classes")
def test_a_half_present_set_is_an_error(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "val", TINY)
    asked = ask(tmp_path / "imagenet", "image_folder", path=str(root))
    for path in (root / TINY[1]).iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{TINY[1]}: no picture there"):
        lay(asked)
    (root / TINY[1]).rmdir()
    with pytest.raises(FileNotFoundError, match=rf"{TINY[1]} is missing \(1 of 3 classes are\)"):
        lay(asked)


@pytest.mark.usefixtures("three_classes")
def test_what_does_not_belong_is_an_error(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "val", TINY)
    asked = ask(tmp_path / "imagenet", "image_folder", path=str(root))
    (root / TINY[0] / "notes.txt").write_text("?")
    with pytest.raises(ValueError, match=r"notes\.txt: not a picture by its name"):
        lay(asked)
    (root / TINY[0] / "notes.txt").unlink()
    lay_down(root, ["n99999999"])
    with pytest.raises(ValueError, match="n99999999: no class of the set has this name"):
        lay(asked)


def test_a_train_folder_alone_is_an_error(tmp_path: Path) -> None:
    lay_down(tmp_path / "cub/train", ["wren"])
    with pytest.raises(FileNotFoundError, match="beside a train folder there must be test or val"):
        lay(ask(tmp_path / "birds", "image_folder", path=str(tmp_path / "cub"), labels="name"))


@pytest.mark.parametrize(
    ("more", "message"), [({"labels": "colour"}, "labels must be one of"), ({"classes": "o"}, "classes must be one of")]
)
def test_a_wrong_request_is_explained(tmp_path: Path, more: dict[str, str], message: str) -> None:
    lay_down(tmp_path / "val", TINY)
    with pytest.raises(ValueError, match=message):
        lay(ask(tmp_path / "imagenet", "image_folder", path=str(tmp_path / "val"), **more))


def test_the_packaged_lists_of_imagenet_agree() -> None:
    """timm's ids, open_clip's names and the two lists of 200 classes come from three places."""
    wnids, names = wording.wnids(), wording.imagenet_names()
    assert len(set(wnids)) == len(names) == 1000
    assert list(wnids) == sorted(wnids)
    assert (names[0], names[1], names[999]) == ("tench", "goldfish", "toilet paper")
    for subset in ("a", "r"):
        assert len(set(wording.wnids(subset))) == 200
        assert set(wording.wnids(subset)) < set(wnids)
    assert len(wording.imagenet_templates()) == 80
