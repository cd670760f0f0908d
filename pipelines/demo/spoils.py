"""The first row of every picture on the websites: most as they should be, some spoiled each in its own way."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np

from lineage import digests, phash, records
from pipelines.demo import artwork, captions, dirt, sentences
from pipelines.demo.artwork import Picture
from pipelines.demo.dirt import Amounts
from pipelines.demo.websites import BLOG, GONE, MIRRORS, SNAPSHOTS, Row, Web, caption_of, home_of, shuffled

_FALSE_ENDINGS: Final = {"png": "jpg", "jpg": "webp", "webp": "png"}
_OPT_OUTS: Final = ("noai", "noimageai")


def add_pictures(web: Web, pictures: Sequence[Picture], snapshot: str, amounts: Amounts) -> None:
    """Adds a row for each picture, and what its link leads to; each spoiled row has a picture of its own."""
    index = SNAPSHOTS.index(snapshot)
    pool = iter(shuffled(pictures, "pool", snapshot))
    for kind, serve in _SERVERS.items():
        for picture in itertools.islice(pool, getattr(amounts, kind)[index]):
            web.rows.append(_row(snapshot, serve(web, picture), kind, picture))
    _add_bombs(web, list(itertools.islice(pool, amounts.bomb[index])), snapshot)
    _add_banners(web, list(itertools.islice(pool, amounts.banner[index])), snapshot)
    for kind, texts in _texts(snapshot).items():
        for picture in itertools.islice(pool, getattr(amounts, kind)[index]):
            web.rows.append(_row(snapshot, _good(web, picture), kind, picture, caption=next(texts)))
    _add_drifted(web, pool, snapshot, amounts)
    _add_swapped(web, list(itertools.islice(pool, amounts.swapped_caption[index])), snapshot)
    web.rows += [_good_row(web, picture, snapshot) for picture in pool]


def _row(snapshot: str, url: str, kind: str, picture: Picture, *, caption: str = "", of: str = "") -> Row:
    words = caption or caption_of(picture)
    return Row(snapshot=snapshot, url=url, caption=words, kind=kind, picture=picture, of=of)


def _good(web: Web, picture: Picture) -> str:
    return web.serve(home_of(picture), picture.content)


def _good_row(web: Web, picture: Picture, snapshot: str) -> Row:
    """Returns the row of a good picture; now and then the URL's ending or the content type is wrong."""
    chance = captions.generator(dirt.SEED, "ending", picture.drawing.vendor, picture.drawing.key).random()
    if chance >= dirt.WRONG_ENDING_FRACTION:
        row = _row(snapshot, _good(web, picture), "clean", picture)
        is_known = snapshot != SNAPSHOTS[0] and int(picture.uid[:8], 16) < dirt.KNOWN_FRACTION * 2**32
        return _told(row, picture) if is_known else row
    if chance < dirt.WRONG_ENDING_FRACTION / 2:
        url = web.serve(home_of(picture, _FALSE_ENDINGS[artwork.ENDINGS[picture.encoding]]), picture.content)
    else:
        url = web.serve(home_of(picture), picture.content, headers={"Content-Type": "application/octet-stream"})
    return _row(snapshot, url, "wrong_ending", picture)


def _status(status: int) -> Callable[[Web, Picture], str]:
    return lambda web, picture: web.answer(home_of(picture), status=status)


def _dead_host(_: Web, picture: Picture) -> str:
    return f"{GONE}/{PurePosixPath(home_of(picture)).name}"


def _html(web: Web, picture: Picture) -> str:
    return web.serve(home_of(picture), dirt.html_page(picture.drawing.name))


def _truncated(web: Web, picture: Picture) -> str:
    return web.serve(home_of(picture), dirt.cut(picture.content))


def _empty(web: Web, picture: Picture) -> str:
    return web.serve(home_of(picture), b"")


def _incomplete(web: Web, picture: Picture) -> str:
    return web.serve(home_of(picture), picture.content, short_by=dirt.MISSING_BYTES)


def _noai(web: Web, picture: Picture) -> str:
    word = _OPT_OUTS[int(picture.uid, 16) % len(_OPT_OUTS)]
    return web.serve(home_of(picture), picture.content, headers={"X-Robots-Tag": word})


def _slow(web: Web, picture: Picture) -> str:
    return web.serve(home_of(picture), picture.content, delay_s=dirt.SLOW_S)


def _flaky(web: Web, picture: Picture) -> str:
    again = {"Retry-After": "1"}
    return web.serve(home_of(picture), picture.content, fail_first=1, status=503, headers=again)


def _redirect(web: Web, picture: Picture) -> str:
    url = home_of(picture)
    target = web.serve(f"{MIRRORS[0]}/moved/{PurePosixPath(url).name}", picture.content)
    return web.answer(url, status=301, headers={"Location": target})


def _redirect_loop(web: Web, picture: Picture) -> str:
    url = home_of(picture)
    return web.answer(url, status=302, headers={"Location": url})


def _tiny(web: Web, picture: Picture) -> str:
    return web.serve(f"{MIRRORS[1]}/icons/{picture.uid[:12]}.png", dirt.icon(artwork.load(picture.content)))


_SERVERS: Final[dict[str, Callable[[Web, Picture], str]]] = {
    "dead_404": _status(404),
    "dead_410": _status(410),
    "dead_500": _status(500),
    "dead_host": _dead_host,
    "html": _html,
    "truncated": _truncated,
    "empty": _empty,
    "incomplete": _incomplete,
    "noai": _noai,
    "slow": _slow,
    "redirect": _redirect,
    "redirect_loop": _redirect_loop,
    "flaky": _flaky,
    "tiny": _tiny,
}
"""What puts a picture behind a link in the way of each kind, and returns the link."""


def _add_bombs(web: Web, pictures: Sequence[Picture], snapshot: str) -> None:
    sides_px = dirt.BOMB_SIDES_PX if snapshot == SNAPSHOTS[0] else dirt.BOMB_SIDES_PX[::-1]
    for side_px, picture in zip(sides_px, pictures, strict=False):
        url = web.serve(f"{BLOG}/{snapshot}/huge-{side_px}.png", dirt.bomb(side_px))
        web.rows.append(_row(snapshot, url, "bomb", picture))


def _add_banners(web: Web, pictures: Sequence[Picture], snapshot: str) -> None:
    images = [artwork.load(picture.content) for picture in pictures]
    for number, picture in enumerate(pictures):
        content = dirt.banner(images[number:] + images[:number])
        url = web.serve(f"{BLOG}/{snapshot}/banner-{number:02}.png", content)
        web.rows.append(_row(snapshot, url, "banner", picture))


def _texts(snapshot: str) -> dict[str, Iterator[str]]:
    """Returns the captions of the kinds where the caption is bad; the second list reads them from the end."""
    step = 1 if snapshot == SNAPSHOTS[0] else -1
    return {
        "latin_language": iter(_by_turns(sentences.LATIN)[::step]),
        "other_script": iter(_by_turns(sentences.OTHER)[::step]),
        "short_caption": itertools.cycle(dirt.SHORT_CAPTIONS),
    }


def _by_turns(table: Mapping[str, Sequence[str]]) -> list[str]:
    orders = [shuffled(table[language], "sentences", language) for language in sorted(table)]
    return [text for texts in zip(*orders, strict=True) for text in texts]


def _add_drifted(web: Web, pool: Iterator[Picture], snapshot: str, amounts: Amounts) -> None:
    """Adds rows whose bytes are no longer those that the list's hash was made of."""
    for kind in ("drift_reencoded", "drift_replaced", "drift_untold"):
        for picture in itertools.islice(pool, getattr(amounts, kind)[SNAPSHOTS.index(snapshot)]):
            content = dirt.parked() if kind == "drift_replaced" else dirt.reencoded(artwork.load(picture.content))
            row = _told(_row(snapshot, web.serve(home_of(picture), content), kind, picture), picture)
            web.rows.append(dataclasses.replace(row, phash="") if kind == "drift_untold" else row)


def _told(row: Row, picture: Picture) -> Row:
    """Returns a row whose list gives the sha256 of a picture's bytes and its perceptual hash."""
    look = phash.hex_hash(phash.perceptual_hash(np.asarray(artwork.load(picture.content))))
    return dataclasses.replace(row, sha256=digests.sha256_bytes(picture.content), phash=look)


def _add_swapped(web: Web, pictures: Sequence[Picture], snapshot: str) -> None:
    """Adds rows that have each other's caption: the first half with the second, so that few pairs are alike."""
    ordered = sorted(pictures, key=lambda picture: (picture.drawing.category, picture.drawing.concept))
    half = len(ordered) // 2
    links: list[Any] = [(picture, _good(web, picture)) for picture in ordered[: 2 * half]]
    for (picture, url), (other, other_url) in zip(links, links[half:] + links[:half], strict=True):
        of = records.uid_of(other_url, caption_of(picture))
        web.rows.append(_row(snapshot, url, "swapped_caption", picture, caption=caption_of(other), of=of))
