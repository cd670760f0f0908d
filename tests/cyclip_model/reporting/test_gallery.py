"""Pictures: which are chosen, how they are made small, and what happens where one cannot be shown."""

import base64
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cyclip_model.reporting import gallery
from cyclip_model.reporting.answers import AllAnswers, Answers

ASKED = ("emoji", "naming", "twemoji", "names")


def answers(ranks: list[int], name: str = "pear") -> Answers:
    labels = pa.array(["apple"] * len(ranks))
    said = pa.array(["apple" if rank == 0 else name for rank in ranks])
    uids = pa.array([f"u{row}" for row in range(len(ranks))])
    return Answers(uids=uids, labels=labels, predictions=said, ranks=np.array(ranks))


def png(image: Image.Image) -> bytes:
    target = io.BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


def opened(uri: str) -> Image.Image:
    kind, _, text = uri.partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


def titles(strips: list[gallery.Strip]) -> dict[str, list[int]]:
    return {strip.title: strip.rows for strip in strips}


def test_strips_by_hand() -> None:
    clip, cyclip = answers([0, 0, 5, 9, 2, 1]), answers([0, 3, 0, 9, 40, 0])
    found = titles(gallery.strips_of({"clip": {0: clip}, "cyclip": {0: cyclip}}, ["clip", "cyclip"], 5))
    assert found == {
        "missed by every model": [4, 3],  # 2 and 40 are together further down than twice 9
        "right by every model": [0],
        "cyclip right, clip wrong": [2, 5],  # clip had it at 5, at 1
        "clip right, cyclip wrong": [1],
    }


def test_where_no_picture_is_right_by_all_those_right_by_most_are_shown() -> None:
    models = {name: {0: answers(ranks)} for name, ranks in {"a": [0, 1], "b": [0, 0], "c": [3, 1]}.items()}
    assert titles(gallery.strips_of(models, list(models), 5))["right by most models"] == [0]


def test_what_parts_models_in_more_seeds_comes_first() -> None:
    clip = {0: answers([9, 1]), 1: answers([0, 1])}
    cyclip = {0: answers([0, 0]), 1: answers([0, 0])}
    found = titles(gallery.strips_of({"clip": clip, "cyclip": cyclip}, ["clip", "cyclip"], 1))
    assert found["cyclip right, clip wrong"] == [1]


def test_the_largest_part_of_the_first_question_is_shown() -> None:
    one, many = answers([1]), answers([1, 1])
    given = AllAnswers(
        found={
            ("a", "retrieval", "test", "image_to_text"): {"clip": {0: many}},
            ("a", "zero_shot", "test", "prompt"): {"clip": {0: one}},
            ("b", "naming", "seen", "names"): {"clip": {0: one}},
            ("b", "naming", "twemoji", "names"): {"clip": {0: many}},
            ("c", "sentences", "test", "linear_probe"): {"clip": {0: one}},
        }
    )
    assert gallery.questions(given) == [("a", "zero_shot", "test", "prompt"), ("b", "naming", "twemoji", "names")]


def test_a_thumbnail_is_small_keeps_its_shape_and_lies_on_white() -> None:
    image = Image.new("RGBA", (400, 200), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 200, 200))
    small = opened(gallery.thumbnail(png(image))).convert("RGB")
    assert small.size == (96, 48)
    assert small.getpixel((10, 20)) == (255, 0, 0)
    assert small.getpixel((90, 20)) == (255, 255, 255)


def test_a_noisy_photograph_stays_below_twelve_kilobytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    assert len(gallery.thumbnail(png(Image.fromarray(noise)))) < 12_000


@pytest.mark.parametrize("content", [b"", b"no picture", png(Image.new("RGB", (50, 50)))[:60]])
def test_what_is_no_picture_is_left_out(content: bytes) -> None:
    assert gallery.thumbnail(content) == ""


def test_pictures_carry_uid_truth_and_answers(tmp_path: Path) -> None:
    folder = tmp_path / "emoji/test"
    folder.mkdir(parents=True)
    stored = {"uid": ["u1", "u0"], "image": [png(Image.new("RGB", (8, 8))), b"broken"]}
    pq.write_table(pa.table(stored), folder / "twemoji.parquet")
    models = {"clip": {0: answers([3, 0])}, "cyclip": {0: answers([3, 3], "plum")}}
    (found,) = gallery.shown(AllAnswers(found={ASKED: models}), tmp_path, ["clip", "cyclip"], 4)
    assert found["title"] == "emoji: Naming, known emoji, new artist, names"
    missed, parted = found["strips"]
    (first,), (second,) = missed["pictures"], parted["pictures"]
    assert (first["uid"], first["label"], first["uri"]) == ("u0", "apple", "")
    assert first["answers"] == [{"text": "pear", "who": "clip"}, {"text": "plum", "who": "cyclip"}]
    assert second["uid"] == "u1"
    assert opened(second["uri"]).size == (8, 8)


def test_of_retrieval_the_caption_and_the_place_are_shown(tmp_path: Path) -> None:
    folder = tmp_path / "coco/test"
    folder.mkdir(parents=True)
    stored = {"uid": ["u0"], "image": [png(Image.new("RGB", (8, 8)))], "captions": [["a dog", "a hound"]]}
    pq.write_table(pa.table(stored), folder / "test.parquet")
    blank = pa.array([""])
    one = Answers(uids=pa.array(["u0"]), labels=blank, predictions=blank, ranks=np.array([4]))
    asked = ("coco", "retrieval", "test", "image_to_text")
    (found,) = gallery.shown(AllAnswers(found={asked: {"clip": {0: one}}}), tmp_path, ["clip"], 4)
    (picture,) = found["strips"][0]["pictures"]
    assert picture["label"] == "a dog"
    assert picture["answers"] == [{"text": "found at place 5", "who": "all"}]


def test_more_sets_leave_fewer_pictures_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, image = ["a", "b"], png(Image.new("RGB", (8, 8)))
    for name in names:
        (tmp_path / name / "test").mkdir(parents=True)
        pq.write_table(pa.table({"uid": ["u0", "u1"], "image": [image] * 2}), tmp_path / name / "test/twemoji.parquet")

    def numbers(max_bytes: int) -> list[int]:
        monkeypatch.setattr(gallery, "MAX_BYTES", max_bytes)
        given = AllAnswers(found={(name, *ASKED[1:]): {"clip": {0: answers([1, 1])}} for name in names})
        return [len(one["strips"][0]["pictures"]) for one in gallery.shown(given, tmp_path, ["clip"], 4)]

    one = len(gallery.thumbnail(image)) + gallery._MARKUP_BYTES
    assert numbers(4 * one) == [2, 2]
    assert numbers(3 * one) == [1, 2], "what one set leaves is the next one's"
    assert numbers(2 * one) == [1, 1]
    assert numbers(one) == [1], "half of it is too little for the first"
    assert numbers(one - 1) == []
