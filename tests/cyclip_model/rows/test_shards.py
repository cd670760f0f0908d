"""The index of packed shards finds what webdataset finds, and names what is missing."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cyclip_model.rows import shards as packed


def written(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def pairs(path: Path, count: int) -> list[tuple[str, bytes, str]]:
    found = packed.index([path], [count])
    return [(key, *found.read(number)) for number, key in enumerate(found.keys)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves the file open
def test_pairs_are_those_that_webdataset_finds(tmp_path: Path, shards: Any) -> None:
    import webdataset

    members = shards.drawings(4)
    path = shards.pack(tmp_path, {"train": members}).parent / "shards/s1/train/00000.tar"
    wanted = [
        (sample["__key__"], sample["png"], sample["txt"].decode())
        for sample in webdataset.WebDataset(str(path), shardshuffle=False)
    ]
    assert pairs(path, 4) == wanted
    assert [picture for _, picture, _ in wanted] == [each["png"] for each in members]


def test_members_may_stand_in_any_order_and_names_be_long(tmp_path: Path) -> None:
    key = "k" * 120
    content = [(f"{key}.txt", "größer 猫".encode()), (f"{key}.json", b"{}"), (f"{key}.JPG", b"picture")]
    assert pairs(written(tmp_path / "a.tar", content), 1) == [(key, b"picture", "größer 猫")]


def test_several_shards_are_one_index(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"{n}.tar", [(f"{n}.png", b"p%d" % n), (f"{n}.txt", b"t%d" % n)]) for n in range(3)]
    found = packed.index(paths, [1, 1, 1])
    assert [found.read(number) for number in (2, 0, 1)] == [(b"p2", "t2"), (b"p0", "t0"), (b"p1", "t1")]
    assert found.place(2) == f"{paths[2]}, key 2"
    assert found.places.itemsize == 28


def test_no_shard_is_no_pair() -> None:
    assert len(packed.index([], []).places) == 0


@pytest.mark.parametrize("left", ["png", "txt"])
def test_a_pair_without_a_member_is_named(tmp_path: Path, left: str) -> None:
    path = written(tmp_path / "a.tar", [("k1.png", b"p"), ("k1.txt", b"t"), (f"k2.{left}", b"x")])
    with pytest.raises(ValueError, match=r"a.tar, key k2: a pair needs .txt and one of png, jpg, webp, gif"):
        packed.index([path], [2])


@pytest.mark.parametrize("content", [b"", b"junk" * 300, "cut"])
def test_a_file_that_is_no_whole_tar_is_named(tmp_path: Path, content: bytes | str) -> None:
    path = written(tmp_path / "a.tar", [("k1.png", b"p" * 2000), ("k1.txt", b"t")])
    path.write_bytes(path.read_bytes()[:1500] if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=r"^\S*a.tar is no whole tar \(.+\): `dvc repro` packs the shard anew"):
        packed.index([path], [1])
