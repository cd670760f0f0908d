"""The benchmarks stage: what it checks, what it writes, and what fails with which reason."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from cyclip_model import benchmarks
from cyclip_model.benchmarks import BenchmarksConfig, UndecodableError, decode
from cyclip_model.sets import layout
from lineage import digests, records
from tests.cyclip_model import small_set
from tests.cyclip_model.sets.laid import ask, picture

CONFIG = BenchmarksConfig(max_pixels=4096)
Parts = dict[str, list[dict[str, Any]]]


def png_that_declares(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def with_picture(parts: Parts, part: str, image: bytes) -> Parts:
    row = {**parts[part][0], "image": image, "uid": digests.sha256_bytes(image)[:32]}
    return {**parts, part: [*parts[part], row]}


def test_the_stage_lays_out_a_benchmark_the_same_way_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_set.write_params(tmp_path)
    small_set.write_set(tmp_path / "data/sets/emoji")
    monkeypatch.chdir(tmp_path)
    provenance = Path("provenance/benchmarks/emoji.json")
    outs = [Path("data/benchmarks/emoji"), Path("again")]
    for out in outs:
        benchmarks.main(Path("data/sets/emoji"), out, provenance)
    assert digests.dvc_digest(outs[0]) == digests.dvc_digest(outs[1])
    names = sorted(path.relative_to(outs[0]).as_posix() for path in outs[0].rglob("*") if path.is_file())
    tests = [f"test/{part}.parquet" for part in sorted((*layout.KNOWN, *layout.NOVEL))]
    assert names == ["classes.json", *tests, "test_hashes.parquet", "train/train.parquet"]
    counts = json.loads(provenance.read_text())["counts"]
    assert (counts["rows_in"], counts["kept"], counts["failed"]) == (96, 96, {})
    assert counts["parts"]["novel"] == 16


def test_rows_that_were_taken_down_are_accounted_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_set.write_params(tmp_path)
    gone = [{"part": "seen", "uid": "0" * 32, "rows": 2}, {"part": "train", "uid": "1" * 32, "rows": 1}]
    table = records.rows_table(gone, records.OPTED_OUT_OF_SET)
    records.write_table(table, small_set.write_set(tmp_path / "data/sets/emoji") / benchmarks.OPTED_OUT)
    monkeypatch.chdir(tmp_path)
    provenance = Path("provenance/benchmarks/emoji.json")
    benchmarks.main(Path("data/sets/emoji"), Path("data/benchmarks/emoji"), provenance)
    counts = json.loads(provenance.read_text())["counts"]
    assert (counts["rows_in"], counts["kept"], counts["dropped"]) == (99, 96, {"opt_out": 3})


def test_classes_hold_members_of_the_train_part_only(tmp_path: Path) -> None:
    benchmarks.build(small_set.write_set(tmp_path / "emoji"), tmp_path / "out", CONFIG)
    found = json.loads((tmp_path / "out/classes.json").read_text())
    assert found["subcategories"]["round-things"] == {
        "category": "shapes",
        "names": ["blue round", "green round", "orange round", "red round"],
    }
    assert sorted(found["categories"]) == ["flags", "shapes", "strokes"]
    assert len(found["names"]) == 16
    assert found["templates"] == ["{}", "an emoji of {}"]
    assert found["parts"]["train"] == 16


def test_rows_carry_their_size_and_hashes_cover_the_test_parts(tmp_path: Path) -> None:
    benchmarks.build(small_set.write_set(tmp_path / "emoji"), tmp_path / "out", CONFIG)
    rows = pq.read_table(tmp_path / "out/test/novel.parquet").to_pylist()
    assert {(row["width"], row["height"]) for row in rows} == {(36, 36)}
    assert [row["uid"] for row in rows] == sorted(row["uid"] for row in rows)
    hashes = pq.read_table(tmp_path / "out/test_hashes.parquet").to_pylist()
    assert {row["part"] for row in hashes} == {*layout.KNOWN, *layout.NOVEL}
    assert all(row["sha256"].startswith(row["uid"]) and len(row["phash"]) == 16 for row in hashes)


def test_pictures_that_cannot_be_used_fail_with_a_reason(tmp_path: Path) -> None:
    good = small_set.drawing("red", "round-things", "noto")
    parts = small_set.rows_of_parts()
    parts = with_picture(parts, "novel", png_that_declares(65, 64))
    parts = with_picture(parts, "novel", b"<html>not found</html>")
    parts = with_picture(parts, "seen", good[: len(good) * 2 // 3])
    kept, failed, _ = benchmarks.build(small_set.write_set(tmp_path / "emoji", parts), tmp_path / "out", CONFIG)
    assert failed == {"too_many_pixels": 1, "undecodable": 1, "truncated": 1}
    assert sum(map(len, kept.values())) == 96


@pytest.mark.parametrize("side", [20_000, 10_000])
def test_a_bomb_is_not_decoded(side: int) -> None:
    with pytest.raises(UndecodableError, match="too_many_pixels"):
        decode(png_that_declares(side, side), 4096)


def test_the_bound_itself_is_allowed() -> None:
    target = io.BytesIO()
    Image.new("RGB", (64, 64)).save(target, "PNG")
    assert decode(target.getvalue(), 4096).size == (64, 64)
    with pytest.raises(UndecodableError):
        decode(target.getvalue(), 4095)


def test_a_train_row_may_lack_a_class(tmp_path: Path) -> None:
    parts = small_set.rows_of_parts()
    parts["train"][0].update(subcategory="", category="")
    parts["train"][1].update(subcategory=None, category=None)
    kept, _, _ = benchmarks.build(small_set.write_set(tmp_path / "emoji", parts), tmp_path / "out", CONFIG)
    assert len(kept["train"]) == 16
    members = json.loads((tmp_path / "out/classes.json").read_text())["subcategories"]
    assert sum(len(of["names"]) for of in members.values()) == 14


def test_a_held_out_concept_that_is_known_too_is_refused(tmp_path: Path) -> None:
    parts = small_set.rows_of_parts()
    parts["twemoji"][0]["concept"] = parts["novel"][0]["concept"]
    with pytest.raises(ValueError, match="part novel: concept 'purple round' is held out and known at once"):
        benchmarks.build(small_set.write_set(tmp_path / "emoji", parts), tmp_path / "out", CONFIG)


def test_a_subcategory_in_two_categories_is_refused(tmp_path: Path) -> None:
    parts = small_set.rows_of_parts()
    parts["train"][0]["category"] = "strokes"
    with pytest.raises(ValueError, match="subcategory 'round-things' lies in two categories"):
        benchmarks.build(small_set.write_set(tmp_path / "emoji", parts), tmp_path / "out", CONFIG)


def test_a_wrong_uid_is_named(tmp_path: Path) -> None:
    parts = small_set.rows_of_parts()
    parts["novel"][0]["uid"] = "0" * 32
    with pytest.raises(ValueError, match=r"novel\.parquet: row 0: uid 0{32} is not the sha256 of its picture"):
        benchmarks.build(small_set.write_set(tmp_path / "emoji", parts), tmp_path / "out", CONFIG)


def test_an_empty_name_is_named(tmp_path: Path) -> None:
    parts = small_set.rows_of_parts()
    for row in parts["seen"]:
        row["name"] = ""
    with pytest.raises(ValueError, match=r"seen\.parquet: row 0: name is empty"):
        benchmarks.build(small_set.write_set(tmp_path / "emoji", parts), tmp_path / "out", CONFIG)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    source = small_set.write_set(tmp_path / "emoji")
    table = pq.read_table(source / "novel.parquet").drop_columns(["caption"])
    pq.write_table(table, source / "novel.parquet")
    with pytest.raises(ValueError, match=r"novel\.parquet: column caption is missing"):
        benchmarks.build(source, tmp_path / "out", CONFIG)


def test_a_part_without_pictures_is_refused(tmp_path: Path) -> None:
    parts = {**small_set.rows_of_parts(), "lineart": []}
    with pytest.raises(ValueError, match=r"lineart\.parquet: no picture that can be used"):
        benchmarks.build(small_set.write_set(tmp_path / "emoji", parts), tmp_path / "out", CONFIG)


def test_pictures_with_the_pixels_of_a_train_picture_are_counted(tmp_path: Path) -> None:
    parts = small_set.rows_of_parts()
    parts["seen"][0] = {**parts["train"][0]}
    _, _, twins = benchmarks.build(small_set.write_set(tmp_path / "emoji", parts), tmp_path / "out", CONFIG)
    assert twins == {**dict.fromkeys((*layout.KNOWN, *layout.NOVEL), 0), "seen": 1}


def test_a_set_of_a_family_is_laid_out_the_same_way_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_set.write_params(tmp_path)
    source = ask(tmp_path / "data/sets/birds", "image_folder", labels="name")
    for place, name in enumerate(("gull", "wren", "gull", "wren")):
        path = source / name / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(9 * place) if place < 3 else b"no picture")
    monkeypatch.chdir(tmp_path)
    provenance = Path("provenance/benchmarks/birds.json")
    outs = [Path("data/benchmarks/birds"), Path("again")]
    for out in outs:
        benchmarks.main(Path("data/sets/birds"), out, provenance)
    assert digests.dvc_digest(outs[0]) == digests.dvc_digest(outs[1])
    names = sorted(path.relative_to(outs[0]).as_posix() for path in outs[0].rglob("*") if path.is_file())
    assert names == ["set.json", "test/test.parquet", "test_hashes.parquet"]
    counts = json.loads(provenance.read_text())["counts"]
    assert (counts["rows_in"], counts["kept"], counts["failed"]) == (4, 3, {"undecodable": 1})
    assert (counts["parts"], counts["is_absent"]) == ({"test": 3}, False)


def test_pictures_that_opt_outs_name_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_set.write_params(tmp_path)
    source = ask(tmp_path / "data/sets/birds", "image_folder", labels="name")
    for place in range(3):
        path = source / "wren" / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(9 * place))
    named = [("sha256", digests.sha256_bytes(picture(9))), ("host_sha256", digests.sha256_bytes(picture(0)))]
    table = records.rows_table([{"kind": kind, "value": value} for kind, value in named], records.OPTOUTS)
    records.write_table(table, tmp_path / "data/optouts.parquet")
    monkeypatch.chdir(tmp_path)
    provenance = Path("provenance/benchmarks/birds.json")
    benchmarks.main(Path("data/sets/birds"), Path("out"), provenance, Path("data/optouts.parquet"))
    counts = json.loads(provenance.read_text())["counts"]
    assert (counts["rows_in"], counts["kept"], counts["dropped"]) == (3, 2, {"opt_out": 1})
    assert [row["image"] for row in pq.read_table("out/test/test.parquet").to_pylist()] == [picture(0), picture(18)]
    assert "data/optouts.parquet" in json.loads(provenance.read_text())["parents"]


def test_a_set_that_is_absent_is_said_to_be_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    small_set.write_params(tmp_path)
    ask(tmp_path / "data/sets/coco", "karpathy", path="coco")
    monkeypatch.chdir(tmp_path)
    provenance = Path("provenance/benchmarks/coco.json")
    benchmarks.main(Path("data/sets/coco"), Path("data/benchmarks/coco"), provenance)
    counts = json.loads(provenance.read_text())["counts"]
    assert (counts["rows_in"], counts["kept"], counts["is_absent"]) == (0, 0, True)
    assert "coco is absent: coco is not there; " in caplog.text
    found = json.loads(Path("data/benchmarks/coco/set.json").read_text())
    assert (found["parts"], sorted(found["absent"])) == ({}, ["how", "why"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"templates": ["{}"], "sources": []}, "name is missing"),
        ({"name": "other", "templates": ["{}"], "sources": []}, "name is 'other', but the folder is 'emoji'"),
        ({"name": "emoji", "templates": ["an emoji"], "sources": []}, "templates must be"),
        ({"name": "emoji", "templates": [], "sources": []}, "templates must be"),
    ],
)
def test_a_wrong_set_json_is_explained(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    (tmp_path / "emoji").mkdir()
    (tmp_path / "emoji/set.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        benchmarks.describe(tmp_path / "emoji")
