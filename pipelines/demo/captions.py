"""Alt texts as people write them, from the words the emoji packages have for a drawing."""

import hashlib
from collections.abc import Callable
from typing import Final

import numpy as np

from pipelines.demo.emoji import Drawing

FEWEST_LETTERS: Final = 3
"""A shorter caption is dirt, and made on purpose elsewhere."""

Writer = Callable[[Drawing, np.random.Generator], str]


def caption(drawing: Drawing, seed: int, occasion: str = "") -> str:
    """Returns a caption for a drawing; the same seed and occasion always give the same one.

    More than three in four captions hold the CLDR name.
    """
    rng = generator(seed, drawing.vendor, drawing.key, occasion)
    writer = _WRITERS[int(rng.choice(len(_WRITERS), p=[share for share, _ in _STYLES]))]
    words = writer(drawing, rng)
    return words if sum(map(str.isalpha, words)) >= FEWEST_LETTERS else _an_emoji(drawing, rng)


def other_caption(drawing: Drawing, seed: int, taken: str) -> str:
    """Returns a caption for a drawing that is not the one `taken`."""
    for attempt in range(20):
        words = caption(drawing, seed, f"again {attempt}")
        if words != taken:
            return words
    return f"a picture of {drawing.name}"


def generator(seed: int, *words: str) -> np.random.Generator:
    """Returns a random generator that is a function of a seed and some words."""
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def _name(drawing: Drawing, _: np.random.Generator) -> str:
    return drawing.name


def _an_emoji(drawing: Drawing, _: np.random.Generator) -> str:
    return f"an emoji of {drawing.name}"


def _with_subcategory(drawing: Drawing, _: np.random.Generator) -> str:
    return ", ".join(word for word in (drawing.name, drawing.subcategory.replace("-", " ")) if word)


def _with_tags(drawing: Drawing, rng: np.random.Generator) -> str:
    return ", ".join([drawing.name, *_some(drawing.tags, 2, rng)])


def _only_tags(drawing: Drawing, rng: np.random.Generator) -> str:
    return ", ".join(_some(drawing.tags, 4, rng))


def _unicode_name(drawing: Drawing, _: np.random.Generator) -> str:
    return drawing.unicode_name


def _short_name(drawing: Drawing, _: np.random.Generator) -> str:
    return drawing.short_name


def _some(tags: tuple[str, ...], count: int, rng: np.random.Generator) -> list[str]:
    chosen = rng.permutation(len(tags))[:count]
    return [tags[index] for index in chosen]


_STYLES: Final[tuple[tuple[float, Writer], ...]] = (
    (0.30, _name),
    (0.16, _an_emoji),
    (0.18, _with_subcategory),
    (0.16, _with_tags),
    (0.08, _unicode_name),
    (0.06, _short_name),
    (0.06, _only_tags),
)
_WRITERS: Final = tuple(writer for _, writer in _STYLES)
