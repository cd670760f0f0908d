"""Family clip_benchmark (webdatasets): CLIP_benchmark's layout, and what is wrong with damaged shards."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cyclip_model.sets import building
from tests.cyclip_model.sets import laying


def lay(source: Path, **more: list[tuple[str, bytes]]) -> Path:
    laying.describe(source, "clip_benchmark")
    laying.put(source / "classnames.txt", "ant\nbee\n")
    laying.put(source / "zeroshot_classification_templates.txt", "a photo of a {c}.\n")
    laying.put(source / "test/nshards.txt", "2")
    members = [("s0.cls", b"1"), ("s0.png", laying.picture(1))]
    laying.tar(source / "test/0.tar", more.get("first", members))
    laying.tar(source / "test/1.tar", [("s1.webp", laying.picture(2, "WEBP")), ("s1.cls", b"0\n")])
    return source


def test_shards_are_read_in_order(tmp_path: Path) -> None:
    building.build(lay(tmp_path / "beasts"), tmp_path / "out", 99)
    rows = pq.read_table(tmp_path / "out/test/test.parquet").to_pylist()
    assert [row["label"] for row in rows] == [1, 0]
    assert rows[0]["image"] == laying.picture(1)
    assert json.loads((tmp_path / "out/set.json").read_text())["templates"] == ["a photo of a {}."]


def test_retrieval_brings_a_caption_a_line(tmp_path: Path) -> None:
    source = lay(tmp_path / "flickr", first=[("a.jpg", laying.picture(1, "JPEG")), ("a.txt", b"one\ntwo\n")])
    laying.put(source / "dataset_type.txt", "retrieval\n")
    laying.put(source / "test/nshards.txt", "1")
    building.build(source, tmp_path / "out", 99)
    rows = pq.read_table(tmp_path / "out/test/test.parquet").to_pylist()
    assert [row["captions"] for row in rows] == [["one", "two"]]


@pytest.mark.parametrize("keep", [300, 512, 1024, 1536, 2048])
def test_a_tar_that_was_cut_off_is_named(tmp_path: Path, keep: int) -> None:
    shard = lay(tmp_path / "beasts") / "test/0.tar"
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"test/0\.tar"):
        building.build(tmp_path / "beasts", tmp_path / "out", 99)


def test_missing_and_wrong_members_are_named(tmp_path: Path) -> None:
    lay(tmp_path / "beasts", first=[("s0.png", laying.picture(1))])
    with pytest.raises(ValueError, match=r"0\.tar: sample s0: s0\.cls is missing"):
        building.build(tmp_path / "beasts", tmp_path / "out", 99)
    lay(tmp_path / "beasts", first=[("s0.png", laying.picture(1)), ("s0.cls", b"2")])
    with pytest.raises(ValueError, match="row 0: label 2 is not one of its 2 classes"):
        building.build(tmp_path / "beasts", tmp_path / "out", 99)
    (tmp_path / "beasts/test/1.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.tar is missing"):
        building.build(tmp_path / "beasts", tmp_path / "out", 99)
