"""Each signal of a picture and of a caption, and each reason measure has."""

import pytest
from PIL import Image

from lineage import phash, reasons
from pipelines import pictures, signals
from tests.builders import make_picture


def test_a_good_picture() -> None:
    content = make_picture(3, (20, 16), "WEBP")
    rgb = pictures.decode(content)
    assert signals.picture_signals(content, 320) == {
        "format": "webp",
        "width": 20,
        "height": 16,
        "pixel_sha256": phash.pixel_sha256(rgb),
        "phash": phash.hex_hash(phash.perceptual_hash(rgb)),
        "error": None,
    }


def test_the_same_pixels_in_another_format_have_the_same_hashes() -> None:
    names = ("pixel_sha256", "phash")
    png, webp = (signals.picture_signals(make_picture(3, kind=kind, lossless=True), 320) for kind in ("PNG", "WEBP"))
    assert [png[name] for name in names] == [webp[name] for name in names]


@pytest.mark.parametrize(
    ("content", "error", "size"),
    [
        (make_picture(kind="PNG")[:-200], "truncated", (20, 16)),
        (make_picture(kind="PNG")[:20], "truncated", None),
        (make_picture(kind="JPEG")[:-200], "truncated", (20, 16)),
        (make_picture(kind="JPEG")[:100], "truncated", None),
        (make_picture(kind="WEBP")[:-50], "truncated", (20, 16)),
        (make_picture(kind="WEBP")[:20], "truncated", None),
        (make_picture(kind="GIF")[:-200], "truncated", (20, 16)),
        (b"<html>not a picture</html>", "undecodable", None),
        (b"", "undecodable", None),
        (b"\x89PNG\r\n\x1a\n" + bytes(100) + b"IEND\xaeB`\x82", "undecodable", None),
        (make_picture(size=(321, 1)), "too_many_pixels", (321, 1)),
        (make_picture(size=(320, 1)), None, (320, 1)),
        (make_picture().replace(b"\0\0\0\x14\0\0\0\x10", bytes(8), 1), "undecodable", (0, 0)),
    ],
)
def test_each_reason(content: bytes, error: str | None, size: tuple[int, int] | None) -> None:
    measured = signals.picture_signals(content, 320)
    assert measured["error"] == error
    assert (measured.get("width"), measured.get("height")) == (size or (None, None))
    assert ("phash" in measured) == (error is None)
    assert error is None or error in reasons.MEASURE


def test_too_many_pixels_are_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    content = make_picture(size=(33, 10))
    monkeypatch.setattr(Image.Image, "load", refuse)
    assert signals.picture_signals(content, 329)["error"] == "too_many_pixels"


def test_a_caption() -> None:
    assert signals.caption_signals("A photo of two cats, 2024!") == {
        "caption_chars": 26,
        "caption_letters": 15,
        "caption_words": 6,
        "script": "latin",
        "script_frac": 1.0,
        "language": "en",
        "language_probability": pytest.approx(0.64, abs=0.01),
    }


@pytest.mark.parametrize("caption", ["123 !?", "\U0001f600", " ", "\0", ""])
def test_a_caption_without_letters(caption: str) -> None:
    found = signals.caption_signals(caption)
    assert found["caption_letters"] == 0
    assert [found[name] for name in ("script", "script_frac", "language", "language_probability")] == [None] * 4


@pytest.mark.parametrize(
    ("letters", "script", "frac"),
    [
        ("abc", "latin", 1.0),
        ("éÅß", "latin", 1.0),
        ("кот", "cyrillic", 1.0),
        ("γάτα", "greek", 1.0),
        ("猫", "cjk", 1.0),
        ("ねこ", "hiragana", 1.0),
        ("고양이", "hangul", 1.0),
        ("قطة", "arabic", 1.0),
        ("abкот", "cyrillic", 0.6),
        ("abко", "cyrillic", 0.5),  # equal shares: the first in order of name
        ("\ue000", "unknown", 1.0),
    ],
)
def test_scripts(letters: str, script: str, frac: float) -> None:
    assert signals.dominant_script(list(letters)) == (script, frac)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("a small brown dog runs over the green meadow", "en"),
        ("ein kleiner brauner Hund läuft über die grüne Wiese", "de"),
        ("un petit chien brun court\nsur le pré vert", "fr"),
        ("маленькая коричневая собака бежит", "ru"),
    ],
)
def test_languages_are_told_the_same_every_time(text: str, language: str) -> None:
    found, probability = signals.detect_language(text)
    assert found == language
    assert 0.5 < probability <= 1
    assert signals.detect_language(text) == (found, probability)


def test_a_hostile_caption_has_signals_too() -> None:
    for caption in ("a\0b", "x" * 100_000, "a\u202eb \u0301", "__label__de hello", "\ufffe\uffffa"):
        assert signals.caption_signals(caption)["language"] is not None
