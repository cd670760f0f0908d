"""Rows that repeat something: duplicates, variants, planted evaluation pictures, and the second list's old rows."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pipelines.demo import artwork, captions, dirt
from pipelines.demo.artwork import Picture
from pipelines.demo.dirt import Amounts
from pipelines.demo.emoji import toneless
from pipelines.demo.websites import BLOG, MIRRORS, SNAPSHOTS, Row, Web, caption_of, home_of, shuffled

FIRST, SECOND = SNAPSHOTS
_PLANTED_PARTS: Final = ("twemoji", "novel", "seen", "lineart")


def add_copies(web: Web, amounts: Amounts) -> None:
    """Adds to both lists rows that repeat clean rows; no row is repeated in two ways."""
    old, new = (
        iter(shuffled([row for row in web.rows if row.kind == "clean" and row.snapshot == snapshot], "copies"))
        for snapshot in SNAPSHOTS
    )
    both = itertools.chain.from_iterable(zip(old, new, strict=False))
    for index, (snapshot, originals) in enumerate(((FIRST, old), (SECOND, both))):
        web.rows += [_exact(web, row, snapshot) for row in itertools.islice(originals, amounts.exact_duplicate[index])]
        near = list(itertools.islice(originals, amounts.near_duplicate[index]))
        web.rows += [_near(web, row, snapshot, bool(number % 2)) for number, row in enumerate(near)]
    for index, own in enumerate((old, new)):
        web.rows += [_again(row, "repeat") for row in itertools.islice(own, amounts.repeat[index])]
    _add_refreshed(web, old, amounts)


def add_tones(web: Web, tones: Sequence[Picture], amounts: Amounts) -> None:
    """Adds variants in another skin tone of pictures that stand in clean rows."""
    bases = {
        (row.picture.drawing.vendor, row.picture.drawing.key): row
        for row in web.rows
        if row.picture and row.kind == "clean"
    }
    shown = {row.picture.pixel_sha256 for row in web.rows if row.picture}
    # some drawings ignore the tone: those would be exact duplicates
    usable = [picture for picture in tones if _base(picture) in bases and picture.pixel_sha256 not in shown]
    snapshots = [name for index, name in enumerate(SNAPSHOTS) for _ in range(amounts.tone_variant[index])]
    waiting = iter(snapshots)
    for picture in usable:
        base = bases[_base(picture)]
        snapshot = next(waiting, None)
        if snapshot is None:
            return
        url = web.serve(home_of(picture), picture.content)
        row = Row(snapshot=snapshot, url=url, caption=caption_of(picture), kind="tone_variant", picture=picture)
        web.rows.append(dataclasses.replace(row, of=base.uid))


def add_planted(web: Web, evaluation: Mapping[str, Sequence[Picture]], amounts: Amounts) -> None:
    """Adds evaluation pictures to the web: byte for byte, encoded anew, and made smaller, by turns."""
    orders = [iter(shuffled(evaluation[part], "planted", part)) for part in _PLANTED_PARTS]
    turns = itertools.chain.from_iterable(zip(*orders, strict=False))
    for index, snapshot in enumerate(SNAPSHOTS):
        for number, picture in enumerate(itertools.islice(turns, amounts.planted_evaluation[index])):
            ending, content = _planted_form(picture, number // len(_PLANTED_PARTS))
            url = web.serve(f"{BLOG}/{snapshot}/{number:03}.{ending}", content)
            row = Row(snapshot=snapshot, url=url, caption=caption_of(picture), kind="planted_evaluation")
            web.rows.append(dataclasses.replace(row, picture=picture, of=picture.uid))


def _planted_form(picture: Picture, turn: int) -> tuple[str, bytes]:
    if turn % 2 == 0:
        return artwork.ENDINGS[picture.encoding], picture.content
    image = artwork.load(picture.content)
    return "jpg", dirt.reencoded(image) if turn % 4 == 1 else dirt.resized(image)


def _exact(web: Web, row: Row, snapshot: str) -> Row:
    picture = _picture(row)
    ending = artwork.ENDINGS[picture.encoding]
    mirror = MIRRORS[int(picture.uid, 16) % len(MIRRORS)]
    url = web.serve(f"{mirror}/{picture.uid[:12]}.{ending}", picture.content)
    return _retold(row, snapshot, url, "exact_duplicate")


def _near(web: Web, row: Row, snapshot: str, is_resized: bool) -> Row:
    picture = _picture(row)
    image = artwork.load(picture.content)
    content = dirt.resized(image) if is_resized else dirt.reencoded(image)
    url = web.serve(f"{MIRRORS[1]}/thumbnails/{picture.uid[:12]}.jpg", content)
    return _retold(row, snapshot, url, "near_duplicate")


def _add_refreshed(web: Web, old: Iterator[Row], amounts: Amounts) -> None:
    """Adds to the second list what it has of the first: the same rows, new captions, and links that died or revived."""
    gone = {"status": 404, "from_snapshot": SECOND}
    for kind in ("seen_before", "seen_before_dead"):
        for row in itertools.islice(old, getattr(amounts, kind)[1]):
            web.answer(row.url, **(gone if kind == "seen_before_dead" else {}))
            web.rows.append(dataclasses.replace(_again(row, kind), snapshot=SECOND))
    for kind in ("new_caption", "new_caption_dead"):
        for row in itertools.islice(old, getattr(amounts, kind)[1]):
            web.answer(row.url, **(gone if kind == "new_caption_dead" else {}))
            web.rows.append(_retold(row, SECOND, row.url, kind))
    for row in itertools.islice(old, amounts.revived[1]):
        web.answer(row.url, status=503, until_snapshot=SECOND)
        web.rows[web.rows.index(row)] = dataclasses.replace(row, kind="not_yet_there")
        web.rows.append(dataclasses.replace(_again(row, "revived"), snapshot=SECOND))


def _again(row: Row, kind: str) -> Row:
    return dataclasses.replace(row, kind=kind, of=row.uid)


def _retold(row: Row, snapshot: str, url: str, kind: str) -> Row:
    caption = captions.other_caption(_picture(row).drawing, dirt.SEED, row.caption)
    return dataclasses.replace(
        row, snapshot=snapshot, url=url, caption=caption, kind=kind, of=row.uid, sha256="", phash=""
    )


def _picture(row: Row) -> Picture:
    assert row.picture, f"a copy of a row without a picture: {row.url}"
    return row.picture


def _base(picture: Picture) -> tuple[str, str]:
    return picture.drawing.vendor, toneless(picture.drawing.key)
