"""COCO and Flickr30K in Karpathy's splits: all captions, and what is broken is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from lineage import digests
from tests.cyclip_model.sets.laid import ask, described, hashes, lay, picture, rows


def image(number: int, split: str, *, filepath: str | None = "val2014", num_captions: int = 5) -> dict[str, Any]:
    said = [{"raw": f" Picture {number}, said {time} times. ", "tokens": ["x"]} for time in range(num_captions)]
    found = {"filename": f"{number}.jpg", "split": split, "sentences": said, "imgid": number}
    return {**found, "filepath": filepath} if filepath else found


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    images = [image(3, "test"), image(1, "train"), image(2, "test", num_captions=6), image(4, "restval")]
    folder = tmp_path / "data"
    (folder / "images/val2014").mkdir(parents=True)
    for number in (2, 3):
        (folder / f"images/val2014/{number}.jpg").write_bytes(picture(10 * number, "JPEG"))
    write(folder / "dataset_coco.json", images)
    return ask(tmp_path / "coco", "karpathy", path=str(folder))


def write(path: Path, images: object) -> None:
    path.write_text(json.dumps({"images": images, "dataset": "coco"}))


def test_only_test_pictures_with_all_their_captions(asked: Path) -> None:
    out, _ = lay(asked)
    found = rows(out)
    assert [row["captions"][0] for row in found] == ["Picture 3, said 0 times.", "Picture 2, said 0 times."]
    assert [len(row["captions"]) for row in found] == [5, 6]
    assert [row["image"] for row in found] == [picture(30, "JPEG"), picture(20, "JPEG")]
    said = described(out)
    assert (said["kind"], said["parts"], said["absent"]) == ("retrieval", {"test": 2}, None)
    assert len(hashes(out)) == 2


def test_flickrs_form_without_filepath_gives_the_same(asked: Path) -> None:
    first = digests.dvc_digest(lay(asked)[0] / "test")
    folder = asked.parent / "data"
    for path in (folder / "images/val2014").iterdir():
        path.rename(folder / path.name)
    (folder / "images/val2014").rmdir()
    (folder / "images").rmdir()
    (folder / "dataset_coco.json").unlink()
    images = [image(number, "test", filepath=None, num_captions=each) for number, each in ((3, 5), (2, 6))]
    write(folder / "dataset_flickr30k.json", images)
    assert digests.dvc_digest(lay(asked)[0] / "test") == first


def test_an_annotation_without_its_picture_is_an_error(asked: Path) -> None:
    (asked.parent / "data/images/val2014/2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"val2014/2\.jpg is missing: dataset_coco\.json has captions of it"):
        lay(asked)


def test_pictures_without_annotations_are_an_error(asked: Path) -> None:
    (asked.parent / "data/dataset_coco.json").unlink()
    with pytest.raises(FileNotFoundError, match="there must be one dataset_"):
        lay(asked)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("none", "no list of images"),
        ([image(2, "train")], "no image of split test"),
        ([{"split": "test", "sentences": []}], "image 0: 'filename' is missing"),
        ([{"filename": "2.jpg", "split": "test"}], "image 0: 'sentences' is missing"),
        ([image(2, "train"), image(2, "test", num_captions=0)], "image 1: a caption is missing"),
        ([{**image(2, "test"), "filepath": "../.."}], "lies outside"),
    ],
)
def test_damaged_annotations_are_named(asked: Path, images: object, message: str) -> None:
    write(asked.parent / "data/dataset_coco.json", images)
    with pytest.raises(ValueError, match=message):
        lay(asked)


def test_annotations_cut_off_are_an_error(asked: Path) -> None:
    path = asked.parent / "data/dataset_coco.json"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(ValueError, match=r"dataset_coco\.json: not valid JSON"):
        lay(asked)


def test_absent(asked: Path) -> None:
    _, laid = lay(ask(asked, "karpathy", path="nowhere"))
    assert laid.absent
    assert "caption_datasets.zip" in laid.absent["how"]
    assert described(asked.parent / "coco-out")["kind"] == "retrieval"
