"""Winoground's examples: two rows each."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cyclip_model.sets import building
from tests.cyclip_model.sets import laying

EXAMPLE = {"id": 7, "image_0": "ex_7_img_0", "image_1": "ex_7_img_1", "caption_0": "a b", "caption_1": "b a"}


def lay(folder: Path, *lines: str) -> Path:
    laying.describe(folder, "winoground")
    laying.put(folder / "examples.jsonl", "\n".join([json.dumps({**EXAMPLE, "collapsed_tag": "Object"}), *lines]))
    for side in (0, 1):
        laying.put(folder / f"images/ex_7_img_{side}.png", laying.picture(side))
    return folder


def test_an_example_is_two_rows(tmp_path: Path) -> None:
    building.build(lay(tmp_path / "winoground"), tmp_path / "out", 99)
    rows = pq.read_table(tmp_path / "out/test/test.parquet").to_pylist()
    assert [(row["example"], row["side"], row["caption"], row["tag"]) for row in rows] == [
        (7, 0, "a b", "Object"),
        (7, 1, "b a", "Object"),
    ]
    assert [row["image"] for row in rows] == [laying.picture(0), laying.picture(1)]


def test_a_short_line_and_a_missing_picture_are_named(tmp_path: Path) -> None:
    source = lay(tmp_path / "winoground", '{"id": 8}')
    with pytest.raises(ValueError, match=r"examples\.jsonl: line 2: image_0 is missing"):
        building.build(source, tmp_path / "out", 99)
    (lay(source) / "images/ex_7_img_1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"line 1: its picture .*img_1\.png is missing"):
        building.build(source, tmp_path / "out", 99)
