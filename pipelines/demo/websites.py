"""The demo's websites while they are laid out: pictures behind links, the server's answers, the rows of both lists."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

from lineage import records
from pipelines.demo import artwork, captions, dirt
from pipelines.demo.artwork import Picture

T = TypeVar("T")

SNAPSHOTS: Final = ("s20261001", "s20261101")
"""Names of the two lists; names sort as their times do."""

HOMES: Final = {
    "noto": "http://noto.demo.test/emoji/64",
    "fluent": "http://fluent.demo.test/assets/3d",
    "openmoji": "http://openmoji.demo.test/color/72",
}
MIRRORS: Final = ("http://cdn.demo.test/mirror", "http://shop.demo.test/images")
BLOG: Final = "http://blog.demo.test/posts"
GONE: Final = "http://gone.demo.test/pictures"
"""A host that nobody knows."""

LICENCES: Final = {"noto": "Apache-2.0", "fluent": "MIT", "openmoji": "CC-BY-SA-4.0"}
GOOD: Final = frozenset(("clean", "wrong_ending", "redirect", "flaky", "natural_duplicate", "natural_leak"))
"""Kinds whose picture stands on the site as it should, with its own caption."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a list, with what is wrong with it."""

    snapshot: str
    url: str
    caption: str
    kind: str
    picture: Picture | None = None
    of: str = ""
    """uid of the row, or of the evaluation picture, that this one repeats."""
    sha256: str = ""
    """What the list says the picture's bytes were when it was written."""
    phash: str = ""
    """And how the picture looked: its perceptual hash."""

    @property
    def uid(self) -> str:
        """The row's uid."""
        return records.uid_of(self.url, self.caption)


@dataclasses.dataclass(slots=True)
class Web:
    """Websites and lists while they are laid out."""

    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    """Bodies by HOST/path."""
    behaviours: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    """What the server does other than sending the file, by URL."""
    rows: list[Row] = dataclasses.field(default_factory=list)

    def serve(self, url: str, content: bytes, **behaviour: Any) -> str:
        """Puts a body behind a URL; returns the URL."""
        path = path_of(url)
        assert self.files.get(path, content) == content, f"two bodies for {url}"
        self.files[path] = content
        return self.answer(url, **behaviour)

    def answer(self, url: str, **behaviour: Any) -> str:
        """Says how the server answers a URL; returns the URL."""
        if behaviour:
            self.behaviours[url] = behaviour
        return url


def path_of(url: str) -> str:
    """Returns HOST/path of a URL: where its body lies under the site's folder."""
    parts = urlsplit(url)
    return f"{parts.netloc}{unquote(parts.path)}"


def home_of(picture: Picture, ending: str = "") -> str:
    """Returns the URL of a picture on its vendor's own site; extras have readable names, percent-encoded."""
    drawing = picture.drawing
    ending = ending or artwork.ENDINGS[picture.encoding]
    if drawing.subcategory:
        key = drawing.key if drawing.vendor == "openmoji" else drawing.key.lower()
        return f"{HOMES[drawing.vendor]}/{key}.{ending}"
    words = "".join(letter for letter in drawing.name if letter.isalnum() or letter in " -").strip()
    return f"{HOMES[drawing.vendor]}/extras/{quote(words)}-{drawing.key}.{ending}"


def caption_of(picture: Picture) -> str:
    """Returns the caption under which a picture is first linked."""
    return captions.caption(picture.drawing, dirt.SEED)


def shuffled(items: Sequence[T], *words: str) -> list[T]:
    """Returns the items in an order that is a function of the seed and some words."""
    return [items[index] for index in captions.generator(dirt.SEED, "order", *words).permutation(len(items))]
