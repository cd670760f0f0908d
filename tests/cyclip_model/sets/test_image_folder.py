"""ImageNet and its shifts by wnid and by number."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cyclip_model.sets import building
from tests.cyclip_model.sets import laying


def test_wnids_of_a_shift_are_numbered_in_the_parent(tmp_path: Path) -> None:
    source = laying.describe(tmp_path / "imagenet_r", "image_folder", shift_of="imagenet")
    for number, wnid in enumerate(("n01484850", "n01443537")):  # great white shark, goldfish: 2 and 1
        laying.put(source / wnid / "a.JPEG", laying.picture(number, "JPEG"))
    building.build(source, tmp_path / "out", 99)
    told = json.loads((tmp_path / "out/set.json").read_text())
    assert told["classnames"] == ["goldfish", "great white shark"]
    assert (told["parent_classes"], told["shift_of"], len(told["templates"])) == ([1, 2], "imagenet", 80)


def test_numbers_are_in_order_of_number(tmp_path: Path) -> None:
    source = laying.describe(tmp_path / "v2", "image_folder", shift_of="imagenet", settings={"folders": "number"})
    for number in (10, 2):
        laying.put(source / str(number) / "a.png", laying.picture(number))
    building.build(source, tmp_path / "out", 99)
    assert json.loads((tmp_path / "out/set.json").read_text())["parent_classes"] == [2, 10]
    rows = pq.read_table(tmp_path / "out/test/test.parquet").to_pylist()
    assert [row["image"] for row in rows] == [laying.picture(2), laying.picture(10)]


def test_what_is_half_there_is_named(tmp_path: Path) -> None:
    source = laying.describe(tmp_path / "imagenet", "image_folder", settings={"num_classes": 2})
    laying.put(source / "n01443537/a.png", laying.picture(1))
    with pytest.raises(ValueError, match="1 folders of classes, but num_classes is 2"):
        building.build(source, tmp_path / "out", 99)
    (source / "n01484850").mkdir()
    with pytest.raises(ValueError, match="n01484850: no picture in this class"):
        building.build(source, tmp_path / "out", 99)
    (source / "n00000000").mkdir()
    with pytest.raises(ValueError, match="n00000000 is not one of ImageNet's 1000 classes"):
        building.build(source, tmp_path / "out", 99)
