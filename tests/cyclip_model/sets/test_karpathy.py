"""Karpathy's file beside the pictures."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cyclip_model.sets import building
from tests.cyclip_model.sets import laying


def lay(folder: Path) -> Path:
    laying.describe(folder, "karpathy", settings={"annotations": "dataset_coco.json"})
    said = [{"raw": " A cat.\n"}, {"raw": "One cat"}]
    images = [
        {"filepath": "val2014", "filename": f"{split}.jpg", "split": split, "sentences": said}
        for split in ("train", "test", "restval")
    ]
    laying.put(folder / "dataset_coco.json", json.dumps({"images": images, "dataset": "coco"}))
    laying.put(folder / "val2014/test.jpg", laying.picture(1, "JPEG"))
    return folder


def test_the_test_split_has_all_captions(tmp_path: Path) -> None:
    assert building.build(lay(tmp_path / "coco"), tmp_path / "out", 99).parts == {"test": 1}
    (row,) = pq.read_table(tmp_path / "out/test/test.parquet").to_pylist()
    assert (row["image"], row["captions"]) == (laying.picture(1, "JPEG"), ["A cat.", "One cat"])


def test_an_annotation_without_its_picture_is_named(tmp_path: Path) -> None:
    (lay(tmp_path / "coco") / "val2014/test.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"dataset_coco\.json: images\[1\]: its picture .*test\.jpg is missing"):
        building.build(tmp_path / "coco", tmp_path / "out", 99)
