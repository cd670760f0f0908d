import csv
import dataclasses
import io
import json
from collections import Counter
from pathlib import Path

import pytest

from lineage import records
from pipelines.demo import artwork, demo_sets, dirt, emoji, link_lists
from pipelines.demo.artwork import Picture
from pipelines.demo.dirt import Amounts
from pipelines.demo.emoji import Part
from pipelines.demo.websites import GOOD, SNAPSHOTS, Row, Web, caption_of, path_of
from tests.pipelines.tiny_packages import lay_packages

FIRST, SECOND = SNAPSHOTS
FEW = Amounts(
    **{field.name: (2, 2) if field.default[0] else (0, 2) for field in dataclasses.fields(Amounts)}  # type: ignore[index]
)
NONE = Amounts(**{field.name: (0, 0) for field in dataclasses.fields(Amounts)})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Picture]]:
    """Pictures of small packages by part, those with tones apart."""
    packages = tmp_path_factory.mktemp("packages")
    lay_packages(packages, 150)
    drawings = emoji.read(packages)
    novel = emoji.novel_concepts(drawings)
    parts = emoji.parts(drawings, novel)
    found: dict[str, list[Picture]] = {"site": [], "seen": [], "novel": [], "twemoji": [], "lineart": [], "tones": []}
    for drawing in drawings:
        base = parts.get((drawing.vendor, emoji.toneless(drawing.key)))
        if drawing.vendor in emoji.SHIFT_VENDORS:
            found[drawing.vendor].append(artwork.picture(drawing))
        elif drawing.has_tone and base == Part.SITE:
            found["tones"].append(artwork.picture(drawing))
        elif not drawing.has_tone:
            found[parts[drawing.vendor, drawing.key]].append(artwork.picture(drawing))
    return {**found, **demo_sets.held_out_parts(found, novel)}


def laid(pictures: dict[str, list[Picture]], amounts: Amounts) -> Web:
    held_out = {name: pictures[name] for name in demo_sets.HELD_OUT}
    return link_lists.lay_out(pictures["site"], pictures["tones"], held_out, amounts)


@pytest.fixture(scope="module")
def web(pictures: dict[str, list[Picture]]) -> Web:
    return laid(pictures, FEW)


def of_kind(web: Web, kind: str) -> list[Row]:
    return [row for row in web.rows if row.kind == kind]


def test_without_dirt_every_picture_has_one_good_row(pictures: dict[str, list[Picture]]) -> None:
    web = laid(pictures, NONE)
    assert len(web.rows) == len(web.files) == len(pictures["site"])
    assert {row.kind for row in web.rows} <= GOOD
    assert all(web.files[path_of(row.url)] == row.picture.content for row in web.rows if row.picture)
    assert {row.snapshot for row in web.rows if row.picture and row.picture.drawing.is_recent} == {SECOND}


def test_each_kind_is_there_as_often_as_asked(web: Web) -> None:
    found = Counter((row.kind, row.snapshot) for row in web.rows)
    for field in dataclasses.fields(FEW):
        wanted = getattr(FEW, field.name)
        assert tuple(found[field.name, snapshot] for snapshot in SNAPSHOTS) == wanted, field.name


def test_the_plan_is_a_function_of_its_input(web: Web, pictures: dict[str, list[Picture]]) -> None:
    again = laid(pictures, FEW)
    assert again == web


def test_uids_are_distinct_within_a_list_but_for_repeats(web: Web) -> None:
    for snapshot in SNAPSHOTS:
        uids = Counter(row.uid for row in web.rows if row.snapshot == snapshot and row.kind not in ("unparsable_row",))
        repeated = {row.uid for row in web.rows if row.snapshot == snapshot and row.kind == "repeat"}
        assert {uid for uid, number in uids.items() if number > 1} == repeated


def test_copies_name_the_row_they_repeat(web: Web) -> None:
    clean = {row.uid: row for row in web.rows if row.kind in ("clean", "not_yet_there")}
    for kind in (
        "exact_duplicate",
        "near_duplicate",
        "tone_variant",
        "repeat",
        "seen_before",
        "new_caption",
        "revived",
    ):
        for row in of_kind(web, kind):
            original = clean[row.of]
            assert original.snapshot <= row.snapshot
            assert row.picture
            assert original.picture
            is_same_picture = web.files[path_of(row.url)] == original.picture.content
            assert is_same_picture == (kind not in ("near_duplicate", "tone_variant")), kind
            assert (row.caption == original.caption) == (kind in ("repeat", "seen_before", "revived")), kind
    used = [row.of for row in web.rows if row.of and row.kind not in ("swapped_caption", "tone_variant")]
    assert len(set(used)) == len(used)


def test_old_links_of_the_second_list_die_and_revive_by_then(web: Web) -> None:
    for kind in ("seen_before_dead", "new_caption_dead"):
        for row in of_kind(web, kind):
            assert web.behaviours[row.url] == {"status": 404, "from_snapshot": SECOND}
            assert row.snapshot == SECOND
    for row in of_kind(web, "revived"):
        assert web.behaviours[row.url] == {"status": 503, "until_snapshot": SECOND}
    assert {row.uid for row in of_kind(web, "revived")} == {row.uid for row in of_kind(web, "not_yet_there")}


def test_swapped_rows_have_each_others_caption(web: Web) -> None:
    rows = {row.uid: row for row in of_kind(web, "swapped_caption")}
    for snapshot in SNAPSHOTS:
        first, second = (row for row in rows.values() if row.snapshot == snapshot)
        assert first.picture
        assert second.picture
        assert first.picture.drawing.concept != second.picture.drawing.concept
        assert first.of == records.uid_of(second.url, caption_of(first.picture))
        assert second.of == records.uid_of(first.url, caption_of(second.picture))


def test_planted_pictures_come_from_evaluation_parts(web: Web, pictures: dict[str, list[Picture]]) -> None:
    held_out = {picture.uid: picture for name in demo_sets.HELD_OUT for picture in pictures[name]}
    planted = of_kind(web, "planted_evaluation")
    assert {held_out[row.of].drawing.vendor for row in planted} > {"twemoji"}
    assert web.files[path_of(planted[0].url)] == held_out[planted[0].of].content


def test_no_evaluation_picture_is_on_the_site_but_planted_ones(web: Web, pictures: dict[str, list[Picture]]) -> None:
    held_out = {picture.content for name in demo_sets.HELD_OUT for picture in pictures[name]}
    leaks = {row.picture.content for row in of_kind(web, "natural_leak") if row.picture}
    planted = {path_of(row.url) for row in of_kind(web, "planted_evaluation")}
    assert all(path in planted for path, content in web.files.items() if content in held_out - leaks)


def test_pictures_that_nobody_doubled_on_purpose_are_marked(pictures: dict[str, list[Picture]]) -> None:
    first, second, third = pictures["site"][:3]
    twin = dataclasses.replace(second, pixel_sha256=first.pixel_sha256)
    leak = dataclasses.replace(third, pixel_sha256=pictures["novel"][0].pixel_sha256)
    rows = [
        Row(snapshot=FIRST, url=f"http://a.demo.test/{number}", caption="x", kind="clean", picture=picture)
        for number, picture in enumerate((first, twin, leak))
    ]
    marked = link_lists.label_natural(rows, {"novel": pictures["novel"]})
    kinds = Counter(row.kind for row in marked)
    assert kinds == {"clean": 1, "natural_duplicate": 1, "natural_leak": 1}
    clean, double = (next(row for row in marked if row.kind == kind) for kind in ("clean", "natural_duplicate"))
    assert double.of == clean.uid
    assert marked[2].of == pictures["novel"][0].uid


def test_the_csv_reads_back_with_its_broken_rows(web: Web) -> None:
    rows = [row for row in web.rows if row.snapshot == FIRST]
    header, *cells = csv.reader(io.StringIO(link_lists.csv_text(rows)))
    assert tuple(header) == link_lists.CSV_HEADER
    assert len(cells) == len(rows)
    assert [line[:2] for line in cells if len(line) == 4] == [
        [row.url, row.caption] for row in rows if row.kind != "unparsable_row"
    ]
    assert sum(len(line) != 4 for line in cells) == 2


def test_the_json_lines_read_back_under_other_names(web: Web) -> None:
    rows = [row for row in web.rows if row.snapshot == SECOND]
    texts = link_lists.json_texts(rows)
    assert len(texts) == link_lists.NUM_JSON_FILES
    good = []
    for line in "".join(texts).splitlines():
        try:
            good.append(json.loads(line))
        except json.JSONDecodeError:
            assert line in {row.caption for row in of_kind(web, "unparsable_row")}
    assert [(entry["URL"] or "", entry["TEXT"]) for entry in good] == [
        (row.url, row.caption) for row in rows if row.kind != "unparsable_row"
    ]


def test_the_answer_key_has_every_row_with_its_expectation(web: Web, tmp_path: Path) -> None:
    table = link_lists.answers(web.rows)
    records.write_table(table, tmp_path / "key.parquet")
    rows = records.read_table(tmp_path / "key.parquet", link_lists.ANSWERS).to_pylist()
    assert len(rows) == len(web.rows)
    for row in rows:
        assert (row["stage"], row["reason"]) == dirt.EXPECTED[row["dirt"]]
        assert row["uid"] == records.uid_of(row["url"], row["caption"])
