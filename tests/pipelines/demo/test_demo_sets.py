import dataclasses
import io
from pathlib import Path

from PIL import Image

from lineage import files, records
from pipelines.demo import demo_sets
from pipelines.demo.artwork import Picture, encode, uid_of
from pipelines.demo.websites import Row
from tests.pipelines.demo.test_emoji import drawing
from tests.pipelines.tiny_packages import shape


def picture(key: str, vendor: str, number: int, subcategory: str = "tool") -> Picture:
    content = encode(shape(number, 32).convert("RGB"), "PNG")
    return Picture(drawing(key, vendor, subcategory), content, "PNG", uid_of(content), f"{number:064x}")


def test_parts_divide_styles_by_concept_and_leave_out_what_has_no_class() -> None:
    pictures = {
        "seen": [picture("1F600", "noto", 1)],
        "novel": [picture("1F601", "noto", 2)],
        "twemoji": [picture("1F600", "twemoji", 3), picture("1F601", "twemoji", 4), picture("E001", "twemoji", 5, "")],
        "lineart": [picture("1F600", "lineart", 6), picture("1F601", "lineart", 7)],
    }
    parts = demo_sets.held_out_parts(pictures, {"1F601"})
    found = {name: [p.drawing.key for p in part] for name, part in parts.items()}
    assert found == {
        **{"seen": ["1F600"], "novel": ["1F601"], "twemoji": ["1F600"], "novel_twemoji": ["1F601"]},
        **{"lineart": ["1F600"], "novel_lineart": ["1F601"]},
    }


def test_equal_bytes_are_one_picture_and_the_rest_is_sorted_by_uid() -> None:
    blank, twin, other = (picture(key, "lineart", n) for key, n in (("1F602", 1), ("1F600", 1), ("1F601", 2)))
    kept = demo_sets.distinct([blank, other, twin])
    assert {p.drawing.key for p in kept} == {"1F600", "1F601"}
    assert [p.uid for p in kept] == sorted(p.uid for p in kept)


def test_train_has_what_stands_on_the_site_as_it_should() -> None:
    rows = [
        Row(snapshot="s1", url=f"http://a.demo.test/{number}", caption="x", kind=kind, picture=shown)
        for number, (kind, shown) in enumerate(
            [("clean", picture("1F600", "noto", 1)), ("redirect", picture("1F601", "noto", 2))]
            + [("truncated", picture("1F602", "noto", 3)), ("clean", picture("E001", "noto", 4, ""))]
        )
    ]
    assert {p.drawing.key for p in demo_sets.train_part(rows)} == {"1F600", "1F601"}


def test_the_written_set_says_what_it_holds_and_whose_it_is(tmp_path: Path) -> None:
    part = [picture("1F600", "noto", 1), picture("1F601", "fluent", 2)]
    demo_sets.write(dict.fromkeys(demo_sets.PARTS, part), tmp_path)
    described = files.read_json(tmp_path / "set.json")
    assert described["parts"] == dict.fromkeys(demo_sets.PARTS, 2)
    assert described["templates"] == ["{}", "an emoji of {}"]
    assert {source["licence"] for source in described["sources"]} == {"Apache-2.0", "MIT", "CC-BY-SA-4.0", "CC-BY-4.0"}
    rows = records.read_table(tmp_path / "train.parquet", demo_sets.COLUMNS).to_pylist()
    assert [row["uid"] for row in rows] == [uid_of(row["image"]) for row in rows]
    assert dataclasses.asdict(part[0].drawing)["name"] == rows[0]["caption"] == rows[0]["name"]
    with Image.open(io.BytesIO(rows[0]["image"])) as image:
        assert image.mode == "RGB"
