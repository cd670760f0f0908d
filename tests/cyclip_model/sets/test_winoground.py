"""Winoground: two rows an example, and an error where one of the two is missing."""

import json
from pathlib import Path

import pytest

from cyclip_model.sets import laying
from lineage import digests
from tests.cyclip_model.sets.laid import ask, described, lay, picture, rows


def line(number: int) -> dict[str, object]:
    sides = {f"image_{side}": f"ex_{number}_img_{side}" for side in (0, 1)}
    captions = {"caption_0": f"{number} on it", "caption_1": f"it on {number}"}
    return {"id": number, "tag": "Object", "collapsed_tag": "Object", **sides, **captions}


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for number in (0, 1):
        for side in (0, 1):
            (folder / f"images/ex_{number}_img_{side}.png").write_bytes(picture(20 * number + 10 * side))
    (folder / "examples.jsonl").write_text("".join(json.dumps(line(number)) + "\n" for number in (0, 1)))
    return ask(tmp_path / "wino", "winoground", path=str(folder))


def test_every_example_is_two_rows(asked: Path) -> None:
    out, _ = lay(asked)
    found = rows(out)
    assert [(row["example"], row["side"], row["caption"]) for row in found] == [
        (0, 0, "0 on it"),
        (0, 1, "it on 0"),
        (1, 0, "1 on it"),
        (1, 1, "it on 1"),
    ]
    assert [row["image"] for row in found] == [picture(shade) for shade in (0, 10, 20, 30)]
    assert {row["tag"] for row in found} == {"Object"}
    assert described(out)["parts"] == {"test": 4}


def test_an_example_goes_as_a_whole_when_one_of_its_pictures_is_opted_out(asked: Path) -> None:
    gone = frozenset([digests.sha256_bytes(picture(10))])
    laid = laying.lay(laying.entry_of(asked), asked.parent / "out", 4096, gone)
    assert (laid.parts, laid.dropped) == ({"test": 2}, {"opt_out": 2})
    assert {row["example"] for row in rows(asked.parent / "out")} == {1}


def test_a_picture_missing_or_damaged_is_an_error(asked: Path) -> None:
    path = asked.parent / "data/images/ex_1_img_0.png"
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(ValueError, match=r"example 1: picture 0 cannot be used: (truncated|undecodable)"):
        lay(asked)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"ex_1_img_0\.png is missing"):
        lay(asked)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": 0', "line 1 is not JSON"),
        ("[1]", "line 1: "),
        (json.dumps({**line(0), "id": "first"}), "line 1: .*first.* is missing or wrong"),
        (json.dumps({key: value for key, value in line(0).items() if key != "caption_1"}), "line 1: 'caption_1'"),
        ("", "part test has no row"),
    ],
)
def test_a_damaged_list_is_named(asked: Path, text: str, message: str) -> None:
    (asked.parent / "data/examples.jsonl").write_text(text)
    with pytest.raises(ValueError, match=message):
        lay(asked)


def test_a_name_is_no_way_out_of_the_folder(asked: Path) -> None:
    text = json.dumps({**line(0), "image_0": "../../secret.png"})
    (asked.parent / "secret.png").write_bytes(picture(0))
    (asked.parent / "data/examples.jsonl").write_text(text)
    with pytest.raises(FileNotFoundError, match=r"images/secret\.png is missing"):
        lay(asked)


def test_pictures_without_a_list_are_an_error_and_nothing_is_absent(asked: Path) -> None:
    (asked.parent / "data/examples.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=r"examples\.jsonl is missing"):
        lay(asked)
    _, laid = lay(ask(asked, "winoground"))
    assert laid.absent
