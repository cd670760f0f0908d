"""The demo's two link lists: every row of the websites and the rows that no stage can use, in a shuffled order."""

import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from pipelines.demo import copies, dirt, spoils
from pipelines.demo.artwork import Picture
from pipelines.demo.dirt import Amounts
from pipelines.demo.websites import HOMES, LICENCES, SNAPSHOTS, Row, Web

CSV_HEADER: Final = ("url", "caption", "license", "origin")
JSON_KEYS: Final = ("URL", "TEXT", "LICENSE", "ORIGIN", "SHA256", "EXPECTED_PHASH")
NUM_JSON_FILES: Final = 2
_TEXT = pa.string()
ANSWERS: Final = pa.schema(
    [("snapshot", _TEXT), ("uid", _TEXT), ("url", _TEXT), ("caption", _TEXT), ("dirt", _TEXT), ("stage", _TEXT)]
    + [("reason", _TEXT), ("of", _TEXT), ("vendor", _TEXT), ("concept", _TEXT)]
)
"""The answer key: an empty stage means that the row is good.

`of` is the uid that a row repeats. Of two equal pictures in one list, which one a build keeps is its own affair: the
row or the one it repeats.
"""

_SHOWN: Final = frozenset(("clean", "wrong_ending", "redirect", "flaky", "swapped_caption"))
"""Kinds of first rows that nothing takes out before the pictures are compared."""

_NO_CAPTIONS: Final = ("", "   ")
_UNPARSABLE: Final = {
    SNAPSHOTS[0]: (
        "http://noto.demo.test/emoji/64/only-one-field.png",
        "http://blog.demo.test/a.png,too,many,fields,in,this,row",
        "two,fields",
    ),
    SNAPSHOTS[1]: ('{"URL": "http://blog.demo.test/cut-off.png", "TEXT": "cut o', "http://blog.demo.test/not-json.png"),
}


def lay_out(
    pictures: Sequence[Picture],
    tones: Sequence[Picture],
    evaluation: Mapping[str, Sequence[Picture]],
    amounts: Amounts,
) -> Web:
    """Returns the websites with the rows of both lists, in the lists' order.

    Args:
        pictures: what the site is to show, without tones.
        tones: pictures that differ from one of `pictures` by the skin tone.
        evaluation: the pictures held out, by part: some are planted.
        amounts: how much dirt.
    """
    web = Web()
    for index, snapshot in enumerate(SNAPSHOTS):
        shown = [picture for picture in pictures if picture.drawing.is_recent == bool(index)]
        spoils.add_pictures(web, shown, snapshot, amounts)
    web.rows = label_natural(web.rows, evaluation)
    copies.add_tones(web, tones, amounts)
    copies.add_copies(web, amounts)
    copies.add_planted(web, evaluation, amounts)
    for index, snapshot in enumerate(SNAPSHOTS):
        web.rows += broken_rows(snapshot, index, amounts)
    web.rows.sort(key=_order)
    return web


def label_natural(rows: Sequence[Row], evaluation: Mapping[str, Sequence[Picture]]) -> list[Row]:
    """Returns the rows, those marked whose pixels an evaluation picture, or an earlier good row, has too.

    Two countries with one flag, a cat with two names: leaks and duplicates that nobody planted.
    """
    held_out = {picture.pixel_sha256: picture.uid for part in sorted(evaluation) for picture in evaluation[part]}
    first: dict[str, Row] = {}
    marked = {}
    for row in sorted(rows, key=lambda row: (row.snapshot, row.uid)):
        if row.kind not in _SHOWN or not row.picture:
            continue
        pixels = row.picture.pixel_sha256
        if pixels in held_out:
            marked[row.uid] = dataclasses.replace(row, kind="natural_leak", of=held_out[pixels])
        elif first.setdefault(pixels, row) is not row:
            marked[row.uid] = dataclasses.replace(row, kind="natural_duplicate", of=first[pixels].uid)
    return [marked.get(row.uid, row) for row in rows]


def broken_rows(snapshot: str, index: int, amounts: Amounts) -> list[Row]:
    """Returns the rows that the first stage must reject: no URL, no address, no caption, no row at all."""
    broken = {
        "no_url": [("", f"a picture without a link, number {number}") for number in range(amounts.no_url[index])],
        "not_a_url": [(url, "a link that leads nowhere") for url in _share(dirt.NOT_URLS, amounts.not_a_url, index)],
        "no_caption": [
            (f"http://blog.demo.test/posts/{snapshot}/silent-{number}.png", _NO_CAPTIONS[number % 2])
            for number in range(amounts.no_caption[index])
        ],
        "unparsable_row": [("", line) for line in _UNPARSABLE[snapshot][: amounts.unparsable_row[index]]],
    }
    return [
        Row(snapshot=snapshot, url=url, caption=caption, kind=kind)
        for kind, pairs in broken.items()
        for url, caption in pairs
    ]


def csv_text(rows: Sequence[Row]) -> str:
    """Returns the rows as a csv with a header; an unparsable one as its raw line."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for row in rows:
        if row.kind == "unparsable_row":
            buffer.write(row.caption + "\n")
        else:
            writer.writerow((row.url, row.caption, *_source(row)))
    return buffer.getvalue()


def json_texts(rows: Sequence[Row]) -> list[str]:
    """Returns the rows as JSON lines in two files of equal length; an unparsable one as its raw line."""
    lines = [
        row.caption
        if row.kind == "unparsable_row"
        else json.dumps(
            dict(
                zip(
                    JSON_KEYS,
                    (row.url or None, row.caption, *_source(row), row.sha256 or None, row.phash or None),
                    strict=True,
                )
            )
        )
        for row in rows
    ]
    size = -(-len(lines) // NUM_JSON_FILES)
    return ["".join(f"{line}\n" for line in lines[start : start + size]) for start in range(0, len(lines), size)]


def answers(rows: Sequence[Row]) -> pa.Table:
    """Returns the answer key, sorted by snapshot, kind, uid."""
    table = [_answer(row) for row in rows]
    order = [("snapshot", "ascending"), ("dirt", "ascending"), ("uid", "ascending"), ("url", "ascending")]
    return pa.Table.from_pylist(table, schema=ANSWERS).sort_by(order)


def _answer(row: Row) -> dict[str, Any]:
    stage, reason = dirt.EXPECTED[row.kind]
    drawing = row.picture.drawing if row.picture else None
    return {
        **{"snapshot": row.snapshot, "uid": row.uid, "url": row.url, "caption": row.caption, "dirt": row.kind},
        **{"stage": stage, "reason": reason, "of": row.of},
        **{"vendor": drawing.vendor if drawing else "", "concept": drawing.concept if drawing else ""},
    }


def _source(row: Row) -> tuple[str, str]:
    """Returns licence and origin of a row's picture: empty where the list does not know them."""
    vendor = row.picture.drawing.vendor if row.picture else ""
    return LICENCES.get(vendor, ""), HOMES.get(vendor, "")


def _share(items: Sequence[str], amounts: tuple[int, int], index: int) -> Sequence[str]:
    start = sum(amounts[:index])
    return items[start : start + amounts[index]]


def _order(row: Row) -> tuple[str, str]:
    return row.snapshot, hashlib.sha256(f"{dirt.SEED}\0{row.kind}\0{row.uid}".encode()).hexdigest()
