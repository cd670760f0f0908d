import json
from pathlib import Path

import pytest

from pipelines.demo import emoji
from pipelines.demo.emoji import Drawing, Part
from tests.pipelines.tiny_packages import lay_packages


def drawing(key: str, vendor: str = "noto", subcategory: str = "tool") -> Drawing:
    return Drawing(
        vendor=vendor,
        key=key,
        path=Path(f"{key}.png"),
        concept=emoji.concept_of(key),
        name=f"thing {key}",
        unicode_name="",
        short_name="",
        tags=(),
        subcategory=subcategory,
        category="objects" if subcategory else "",
        is_recent=False,
        has_tone=False,
    )


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (("1F9D1-200D-1F373", "1F468-200D-1F373", "1F469-1F3FD-200D-1F373"), "cooks of any gender and tone"),
        (("1F3C3", "1F3C3-200D-2640", "1F3C3-200D-2642-200D-27A1"), "runners of any gender and direction"),
        (("1F46A", "1F468-200D-1F469-200D-1F466", "1F491", "1F46F-200D-2640"), "families and couples"),
        (("1F934", "1F478", "1FAC5"), "prince, princess, person with crown"),
        (("1F91D", "1FAF1-1F3FB-200D-1FAF2-1F3FF"), "handshakes"),
    ],
)
def test_variants_of_one_idea_are_one_concept(keys: tuple[str, ...], what: str) -> None:
    assert len({emoji.concept_of(key) for key in keys}) == 1, what


def test_other_ideas_are_other_concepts() -> None:
    keys = ("1F600", "1F468-200D-1F373", "1F468-200D-1F680", "1F1F3-1F1F4", "27A1", "2640", "2642", "1F9D1", "1F9D2")
    assert len({emoji.concept_of(key) for key in keys}) == len(keys)


def test_novel_concepts_are_a_share_of_each_subcategory_in_no_order_of_their_own() -> None:
    tools = [drawing(f"1F{number:03X}") for number in range(100)]
    birds = [drawing(f"2F{number:03X}", subcategory="bird") for number in range(40)]
    novel = emoji.novel_concepts([*tools, *birds])
    assert sum(concept.startswith("1F") for concept in novel) == 15
    assert sum(concept.startswith("2F") for concept in novel) == 6
    assert novel == emoji.novel_concepts([*reversed(birds), *reversed(tools)])
    assert novel != {drawing.concept for drawing in tools[:15] + birds[:6]}


def test_held_out_units_leave_another_vendors_drawing_on_the_site() -> None:
    keys = [f"1F{number:03X}" for number in range(100)]
    drawings = [drawing(key, vendor) for key in keys for vendor in emoji.TRAINING_VENDORS]
    drawings += [drawing(f"2F{number:03X}") for number in range(20)]
    parts = emoji.parts(drawings, {"1F000"})
    seen = {unit for unit, part in parts.items() if part == Part.SEEN}
    assert len(seen) == 26  # 8 % of 99 x 3 + 20, begun ones included
    assert not any(key.startswith("2F") for _, key in seen)
    assert {part for (_, key), part in parts.items() if key == "1F000"} == {Part.NOVEL}
    shown = {key for (_, key), part in parts.items() if part == Part.SITE}
    assert {key for _, key in seen} <= shown


def test_extras_are_never_held_out_and_vanish_with_a_novel_concept() -> None:
    parts = emoji.parts([drawing("E001", subcategory=""), drawing("E002", subcategory="")], {"E002"})
    assert parts == {("noto", "E001"): Part.SITE}


def test_read_knows_every_vendor_and_leaves_out_components_and_brands(tmp_path: Path) -> None:
    lay_packages(tmp_path, 10)
    drawings = emoji.read(tmp_path)
    assert {d.vendor for d in drawings} == {*emoji.TRAINING_VENDORS, *emoji.SHIFT_VENDORS}
    assert {"1F3FB", "E000"}.isdisjoint(d.key for d in drawings)
    assert len(drawings) == 5 * (10 + 2 * 2 + 1)
    first = next(d for d in drawings if d.vendor == "noto" and d.key == "1F601")
    assert (first.name, first.unicode_name, first.short_name) == ("thing number 1", "thing 1f601", "thing 1F601")
    assert first.tags == ("round", "coloured", "small", "shape", "drawing")
    extra = next(d for d in drawings if d.key == "E001")
    assert (extra.subcategory, extra.category) == ("", "")


def test_a_missing_package_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"openmoji\.json: not there; `npm ci`"):
        emoji.read(tmp_path)


def test_the_lock_pins_the_versions_this_code_knows_and_holds_no_address() -> None:
    text = Path("package-lock.json").read_text(encoding="utf-8")
    locked = {name.removeprefix("node_modules/"): entry for name, entry in json.loads(text)["packages"].items() if name}
    assert {name: entry["version"] for name, entry in locked.items()} == emoji.PACKAGES
    assert all(entry["integrity"].startswith("sha512-") for entry in locked.values())
    assert "http" not in text
