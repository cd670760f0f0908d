"""Sets in CLIP_benchmark's layout, written by its own writer, whole and broken."""

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from lineage import digests
from tests.cyclip_model.sets.laid import ask, described, hashes, lay, picture, rows

Members = list[tuple[str, bytes]]


def write_tar(path: Path, members: Members) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            head = tarfile.TarInfo(name)
            head.size = len(content)
            tar.addfile(head, io.BytesIO(content))


def shapes(folder: Path) -> Path:
    """Five test pictures in two tars, two classes; one train picture, which is also a test picture's twin."""
    (folder / "test").mkdir(parents=True)
    (folder / "classnames.txt").write_text("round thing\nsquare thing\n")
    (folder / "zeroshot_classification_templates.txt").write_text("a {c}.\nmy {c}\n")
    members = [
        [(f"s{n}.{kind}", content) for kind, content in (("webp", picture(8 * n, "WEBP")), ("cls", b"%d" % (n % 2)))]
        for n in range(5)
    ]
    write_tar(folder / "test/0.tar", sum(members[:3], Members()))
    write_tar(folder / "test/1.tar", sum(members[3:], Members()))
    (folder / "test/nshards.txt").write_text("2")
    write_tar(folder / "train/0.tar", [("t.png", picture(0)), ("t.cls", b"1\n")])
    (folder / "train/nshards.txt").write_text("1\n")
    return folder


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    shapes(tmp_path / "wds")
    return ask(tmp_path / "shapes", "clip_benchmark", path=str(tmp_path / "wds"))


def test_classes_templates_and_pictures_come_as_they_lie(asked: Path) -> None:
    out, laid = lay(asked)
    said = described(out)
    assert said["classnames"] == ["round thing", "square thing"]
    assert said["templates"] == ["a {}.", "my {}"]
    assert (said["kind"], said["parts"], said["absent"]) == ("classification", {"train": 1, "test": 5}, None)
    assert (said["superclasses"], said["shift_of"], said["parent_classes"]) == (None, None, None)
    found = rows(out)
    assert [row["label"] for row in found] == [0, 1, 0, 1, 0]
    assert [row["image"] for row in found] == [picture(8 * n, "WEBP") for n in range(5)]
    assert found[0]["uid"] == digests.sha256_bytes(picture(0, "WEBP"))[:32]
    assert {(row["width"], row["height"]) for row in found} == {(8, 8)}
    assert sorted(row["uid"] for row in found) == [row["uid"] for row in hashes(out)]
    assert [row["label"] for row in rows(out, "train")] == [1]
    assert not laid.failed


def test_a_part_may_be_left_out(asked: Path) -> None:
    ask(asked, "clip_benchmark", path=str(asked.parent / "wds"), parts=["test"], templates="imagenet", shift_of="other")
    out, _ = lay(asked)
    said = described(out)
    assert said["parts"] == {"test": 5}
    assert not (out / "train").exists()
    assert len(said["templates"]) == 80
    assert said["templates"][0] == "a bad photo of a {}."
    assert any("open_clip" in source for source in said["sources"][1:])
    assert said["shift_of"] == "other"


def test_clip_benchmarks_own_writer_is_read(tmp_path: Path) -> None:
    webdataset_builder = pytest.importorskip("clip_benchmark.webdataset_builder")
    folder, captions = tmp_path / "wds", [["a dark square", "ink"], ["a light square"]]

    class Two(list):  # type: ignore[type-arg]
        pass

    dataset = Two([(picture(8 * n, "WEBP"), captions[n]) for n in range(2)])
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        import torch.utils.data

        patch.setattr(torch.utils.data, "DataLoader", lambda dataset, **_: dataset)
        webdataset_builder.convert_retrieval_dataset(dataset, "test", str(folder), verbose=False)
    out, _ = lay(ask(tmp_path / "pairs", "clip_benchmark", path=str(folder)))
    assert described(out)["kind"] == "retrieval"
    assert [row["captions"] for row in rows(out)] == captions


def test_a_set_that_is_not_there_is_absent(tmp_path: Path) -> None:
    out, laid = lay(ask(tmp_path / "gone", "clip_benchmark", path=str(tmp_path / "nowhere"), how="ask Anna"))
    assert laid.absent == {"why": f"{tmp_path / 'nowhere'} is not there", "how": "ask Anna"}
    said = described(out)
    assert (said["absent"], said["parts"], said["kind"]) == (laid.absent, {}, "classification")
    assert sorted(path.name for path in out.rglob("*")) == ["set.json", "test_hashes.parquet"]
    assert hashes(out) == []
    bare, _ = lay(ask(tmp_path / "bare", "clip_benchmark"))
    assert "nothing but set.json" in described(bare)["absent"]["why"]


@pytest.mark.parametrize(
    "name", ["classnames.txt", "zeroshot_classification_templates.txt", "test/nshards.txt", "test/1.tar", "train/0.tar"]
)
def test_a_half_present_set_is_an_error_that_names_the_file(asked: Path, name: str) -> None:
    (asked.parent / "wds" / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        lay(asked)


def test_a_folder_without_a_test_part_is_an_error(asked: Path) -> None:
    shutil.rmtree(asked.parent / "wds/test")
    with pytest.raises(FileNotFoundError, match=r"test/nshards\.txt"):
        lay(asked)


@pytest.mark.parametrize("keep", [100, 512, 600, 1024, 1536, 2048, 2500])
def test_a_tar_that_is_cut_off_is_an_error(asked: Path, keep: int) -> None:
    path = asked.parent / "wds/test/1.tar"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"1\.tar"):
        lay(asked)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.webp", picture(0)), ("a.cls", b"2")], "test row 0: label 2 is not among its 2 classes"),
        ([("a.webp", picture(0)), ("a.cls", b"-1")], "must be the number of a class"),
        ([("a.webp", picture(0)), ("a.cls", b"round")], "a.cls must be the number of a class"),
        ([("a.webp", picture(0)), ("b.cls", b"1")], r"0\.tar: a has no \.cls"),
        ([("a.cls", b"1")], r"0\.tar: a has no picture"),
    ],
)
def test_a_damaged_sample_is_named(asked: Path, members: Members, message: str) -> None:
    write_tar(asked.parent / "wds/test/0.tar", members)
    with pytest.raises(ValueError, match=message):
        lay(asked)


def test_a_tar_too_many_is_an_error(asked: Path) -> None:
    write_tar(asked.parent / "wds/test/2.tar", [])
    with pytest.raises(ValueError, match=r"2\.tar is more than the 2 tars"):
        lay(asked)


def test_pictures_that_cannot_be_used_are_counted_by_reason(asked: Path) -> None:
    large, good = picture(0, side=65), picture(9)
    members = [
        ("a.png", large),
        ("a.cls", b"0"),
        ("b.jpg", b"<html>"),
        ("b.cls", b"0"),
        ("c.png", good),
        ("c.cls", b"1"),
    ]
    write_tar(asked.parent / "wds/test/0.tar", members)
    out, laid = lay(asked)
    assert laid.failed == {"too_many_pixels": 1, "undecodable": 1}
    assert laid.parts == {"train": 1, "test": 3}
    assert laid.twins == {"test": 0}
    ask(asked, "clip_benchmark", path=str(asked.parent / "wds"), max_pixels=65 * 65)
    out, laid = lay(asked)
    assert laid.failed == {"undecodable": 1}
    assert described(out)["parts"]["test"] == 4


def test_pixels_of_a_train_picture_are_counted(asked: Path) -> None:
    write_tar(asked.parent / "wds/train/0.tar", [("t.webp", picture(8, "WEBP")), ("t.cls", b"1")])
    assert lay(asked)[1].twins == {"test": 1}
