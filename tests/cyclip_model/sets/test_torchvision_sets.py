"""torchvision's sets, each from tiny files in its own form on disk."""

import io
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from cyclip_model.sets import torchvision_sets, wording
from lineage import digests
from tests.cyclip_model.sets import torchvision_forms
from tests.cyclip_model.sets.laid import ask, described, lay, rows
from tests.cyclip_model.sets.torchvision_photos import PHOTOS

FORMS = {**torchvision_forms.FORMS, **PHOTOS}
ARRAYS = ("CIFAR10", "CIFAR100", "MNIST", "STL10", "SVHN", "FER2013", "PCAM")


def in_rgb(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))


@pytest.fixture(autouse=True)
def _large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.cyclip_model.sets.laid.MAX_PIXELS", 96 * 96)


def asked(tmp_path: Path, dataset: str, **more: object) -> Path:
    return ask(tmp_path / "asked", "torchvision", dataset=dataset, path=str(tmp_path / "root"), **more)


@pytest.mark.parametrize("name", FORMS)
def test_pictures_and_labels_are_those_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    expected = FORMS[name](tmp_path / "root", monkeypatch)
    out, laid = lay(asked(tmp_path, name))
    assert described(out)["parts"] == {part: len(of) for part, of in expected.items()}
    assert not laid.failed
    for part, of in expected.items():
        stored = rows(out, part)
        assert [row["label"] for row in stored] == [label for _, label in of]
        for row, (image, _) in zip(stored, of, strict=True):
            if isinstance(image, bytes):
                assert row["image"] == image, "a file is stored byte for byte"
            else:
                three = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
                np.testing.assert_array_equal(in_rgb(row["image"]), three)
            assert row["uid"] == digests.sha256_bytes(row["image"])[:32]


@pytest.mark.parametrize("name", ["CIFAR10", "GTSRB", "Food101"])
def test_the_same_files_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    FORMS[name](tmp_path / "root", monkeypatch)
    first = digests.dvc_digest(lay(asked(tmp_path, name))[0])
    (tmp_path / "asked-out").rename(tmp_path / "before")
    assert digests.dvc_digest(lay(asked(tmp_path, name))[0]) == first


def test_names_templates_and_superclasses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FORMS["CIFAR100"](tmp_path / "root", monkeypatch)
    said = described(lay(asked(tmp_path, "CIFAR100", parts=["test"]))[0])
    assert said["classnames"] == ["lawn mower", "aquarium fish"]
    assert said["templates"][0] == "a photo of a {}."
    assert len(said["templates"]) == 18
    of = said["superclasses"]["of"]
    assert [said["superclasses"]["names"][number] for number in of] == ["vehicles 2", "fish"]
    assert said["parts"] == {"test": 2}
    said = described(lay(asked(tmp_path, "CIFAR100", templates="imagenet"))[0])
    assert len(said["templates"]) == 80


def test_names_of_a_set_whose_own_are_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FORMS["GTSRB"](tmp_path / "root", monkeypatch)
    said = described(lay(asked(tmp_path, "GTSRB"))[0])
    assert said["classnames"] == wording.classnames("gtsrb")
    assert any("clip_benchmark" in source for source in said["sources"])


def test_a_set_without_a_split_is_parted_the_same_way_always(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = FORMS["Caltech101"](tmp_path / "root", monkeypatch)["test"]
    out, laid = lay(asked(tmp_path, "Caltech101", train_per_class=2))
    assert laid.parts == {"train": 4, "test": 2}
    train, test = ({(row["image"], row["label"]) for row in rows(out, part)} for part in ("train", "test"))
    assert not train & test
    assert train | test == set(expected)
    assert [row["label"] for row in rows(out, "train")] == [0, 0, 1, 1]
    assert described(out)["classnames"] == ["Faces easy", "accordion"]
    with pytest.raises(ValueError, match="class 0 has no more than 3 pictures"):
        lay(asked(tmp_path, "Caltech101", train_per_class=3))


def test_the_draw_is_that_of_every_other_machine() -> None:
    """`printf ROW | sha256sum` sorts rows 0 to 9 as 9 8 4 3 0 1 7 2 6 5."""
    assert torchvision_sets.draw([0] * 6 + [1] * 4, 2) == {9, 8, 4, 3}
    assert torchvision_sets.draw([0, 1] * 5, 1) == {9, 8}
    assert torchvision_sets.draw([0, 0, 1, 1, 1, 1, 1, 0, 1, 1], 2) == {9, 8, 0, 1}


def test_a_list_that_lacks_a_class_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision would number the other classes from 0 there."""
    FORMS["DTD"](tmp_path / "root", monkeypatch)
    path = tmp_path / "root/dtd/dtd/labels/val1.txt"
    path.write_text(path.read_text().splitlines()[1] + "\n")
    with pytest.raises(ValueError, match="do not name the same classes"):
        lay(asked(tmp_path, "DTD"))


@pytest.mark.parametrize("name", FORMS)
def test_a_set_that_is_not_there_is_absent(tmp_path: Path, name: str) -> None:
    for place in (tmp_path / "root", tmp_path / "root/other"):  # not even the root; and a root of other sets
        out, laid = lay(asked(tmp_path, name))
        assert laid.absent
        assert "is not there" in laid.absent["why"]
        assert described(out)["parts"] == {}
        place.mkdir(parents=True, exist_ok=True)
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) in ([], ["other"]), "nothing is laid down"


@pytest.mark.parametrize("name", ARRAYS)
def test_a_file_cut_off_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    FORMS[name](tmp_path / "root", monkeypatch)
    largest = max((tmp_path / "root").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    largest.write_bytes(largest.read_bytes()[:-700])
    with pytest.raises(ValueError, match=f"torchvision's {name} cannot be read"):
        lay(asked(tmp_path, name))


@pytest.mark.parametrize(
    ("name", "suffix"), [("Food101", "jpg"), ("GTSRB", "csv"), ("DTD", "txt"), ("CIFAR10", "meta")]
)
def test_a_file_that_is_missing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, suffix: str
) -> None:
    FORMS[name](tmp_path / "root", monkeypatch)
    sorted((tmp_path / "root").rglob(f"*.{suffix}"))[0].unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=str(tmp_path / "root")):
        lay(asked(tmp_path, name))


def test_what_torchvision_fetches_goes_to_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(self: torchvision.datasets.CIFAR10) -> None:
        FORMS["CIFAR10"](Path(self.root), monkeypatch)

    monkeypatch.setattr(torchvision.datasets.CIFAR10, "download", fetch)
    assert lay(asked(tmp_path, "CIFAR10", download=True))[1].parts == {"train": 3, "test": 2}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"dataset": "CIFAR9"}, "dataset 'CIFAR9' is none of CIFAR10, "),
        ({"dataset": "CIFAR10", "train_per_class": 2}, "CIFAR10 has a train part"),
        ({"dataset": "FER2013", "download": True}, "torchvision does not fetch FER2013"),
        ({}, "dataset is missing"),
    ],
)
def test_a_wrong_request_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, object], message: str
) -> None:
    FORMS["CIFAR10"](tmp_path / "root", monkeypatch)
    with pytest.raises(ValueError, match=message):
        lay(ask(tmp_path / "asked", "torchvision", path=str(tmp_path / "root"), **more))


def test_every_class_known_is_tried() -> None:
    assert set(FORMS) == set(torchvision_sets.KNOWN)


def test_names_are_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        "OxfordIIITPet": ["Abyssinian", "Basset Hound"],
        "SUN397": ["abbey", "bakery shop"],
        "StanfordCars": ["Acura RL 2012", "BMW X3 2012"],
        "RenderedSST2": ["negative", "positive"],
        "FGVCAircraft": ["707-320", "A340 (long)"],
        "FER2013": ["angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral"],
    }
    for name, names in expected.items():
        FORMS[name](tmp_path / name / "root", monkeypatch)
        assert described(lay(asked(tmp_path / name, name))[0])["classnames"] == names


def test_every_class_named_is_torchvisions_and_has_templates() -> None:
    for name, known in torchvision_sets.KNOWN.items():
        assert hasattr(torchvision.datasets, name)
        assert all(text.count("{}") == 1 for text in wording.templates(known.key))
        if known.is_named:
            assert wording.classnames(known.key)
