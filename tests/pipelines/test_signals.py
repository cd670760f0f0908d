"""Each signal of a link, a caption and a picture, on cases that a reader can make by hand."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage import phash, records
from pipelines import signals
from tests.builders import make_picture

COPIED = {"uid", "url_sha256", "host", "host_sha256", "bytes", "sha256", "caption", "drift", "given", "error"}


def of_picture(content: bytes | None, max_pixels: int = 10_000) -> dict[str, Any]:
    return signals.measure(signals.picture_views(content, max_pixels))


def of_caption(caption: str | None) -> dict[str, Any]:
    return signals.measure(signals.caption_views(caption))


def grey(rows: list[list[int]]) -> npt.NDArray[np.uint8]:
    return np.array(rows, np.uint8)


def test_every_signal_is_a_column_and_every_other_column_is_copied() -> None:
    assert set(signals.SIGNALS) | COPIED == set(records.SIGNALS.names)
    assert not set(signals.SIGNALS) & COPIED


def test_a_pair_without_views_has_no_signals() -> None:
    assert set(signals.measure({}).values()) == {None}


def test_a_good_picture() -> None:
    content = make_picture(3, (20, 16), "WEBP")
    found = of_picture(content)
    assert (found["format"], found["width"], found["height"]) == ("webp", 20, 16)
    views = signals.picture_views(content, 320)
    assert views["error"] is None
    assert found["pixel_sha256"] == hashlib.sha256(b"16x20:" + views["rgb"].tobytes()).hexdigest()
    assert int(found["phash"], 16) == phash.perceptual_hash(views["rgb"])
    assert found["caption_chars"] is None


def test_the_same_pixels_in_another_format_have_the_same_signals() -> None:
    png, webp = (of_picture(make_picture(3, kind=kind, lossless=True)) for kind in ("PNG", "WEBP"))
    assert {name for name in png if png[name] != webp[name]} == {"format"}


@pytest.mark.parametrize(
    ("content", "max_pixels", "error", "known"),
    [
        (make_picture()[:-200], 10_000, "truncated", {"format": "png", "width": 20, "height": 16}),
        (make_picture(kind="JPEG")[:100], 10_000, "truncated", {"format": "jpg"}),
        (b"<html>not a picture</html>", 10_000, "undecodable", {}),
        (make_picture(size=(33, 10)), 329, "too_many_pixels", {"format": "png", "width": 33, "height": 10}),
    ],
)
def test_what_cannot_be_decoded_keeps_what_is_known(
    content: bytes, max_pixels: int, error: str, known: dict[str, Any]
) -> None:
    assert signals.picture_views(content, max_pixels)["error"] == error
    assert {name: value for name, value in of_picture(content, max_pixels).items() if value is not None} == known


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ([[7] * 5] * 4, 0.0),  # one shade has no edges
        ([[0, 255], [255, 0]], 1020.0**2),  # the Laplacian is +1020 and -1020 by turns: their mean is 0
        ([[10]], 0.0),
        ([[0, 0, 4, 0, 0]], 19.2),  # 0, 4, -8, 4, 0: (16 + 64 + 16) / 5, their mean is 0
    ],
)
def test_blur(picture: list[list[int]], expected: float) -> None:
    assert signals.blur(grey(picture)) == expected


def test_a_blurred_picture_has_less_blur_signal_than_the_sharp_one_at_any_size() -> None:
    stripes = np.tile((np.arange(512) // 64 % 2 * 255).astype(np.uint8), (512, 1))
    soft = np.tile(np.convolve(stripes[0].astype(float), np.ones(49) / 49, "same").astype(np.uint8), (512, 1))
    assert signals.blur(soft) < signals.blur(stripes) / 100
    assert signals.blur(stripes) == signals.blur(stripes[::2, ::2])  # 512 px and 256 px of the same drawing


@pytest.mark.parametrize(
    ("picture", "expected"),
    [([[7] * 5] * 4, 1.0), ([[0, 1], [2, 3]], 0.25), ([[9, 9, 9, 1]], 0.75), ([[255]], 1.0)],
)
def test_flatness(picture: list[list[int]], expected: float) -> None:
    assert signals.flatness(grey(picture)) == expected


def test_flatness_counts_exactly_where_float32_would_not() -> None:
    picture = np.zeros((4097, 4096), np.uint8)  # more than 2^24 pixels, all but one of one shade
    picture[-1, -1] = 1
    assert signals.flatness(picture) == round(1 - 1 / picture.size, 6)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("noto.demo.test", "test"),
        ("Example.COM.", "com"),
        ("localhost", "localhost"),
        ("xn--e1afmkfd.xn--p1ai", "xn--p1ai"),
        ("10.0.0.1", ""),
        ("2001:db8::1", ""),
        ("[2001:db8::1]", ""),
        ("", ""),
    ],
)
def test_tld(host: str, expected: str) -> None:
    assert signals.tld(host) == expected


def test_a_link() -> None:
    found = signals.measure(signals.link_views("http://a.test/é", "a.test"))
    assert (found["tld"], found["url_chars"]) == ("test", 15)
    taken_down = signals.measure(signals.link_views(None, None))
    assert (taken_down["tld"], taken_down["url_chars"]) == (None, None)


def test_a_caption() -> None:
    found = {name: value for name, value in of_caption("A photo of two  cats, 2024!").items() if value is not None}
    assert found == {
        "caption_chars": 27,
        "caption_letters": 15,
        "caption_words": 6,
        "caption_repetition": 0.0,
        "caption_letter_frac": round(15 / 21, 6),
        "caption_sha256": hashlib.sha256(b"a photo of two cats, 2024!").hexdigest(),
        "script": "latin",
        "script_frac": 1.0,
        "language": "en",
        "language_probability": pytest.approx(0.64, abs=0.01),
    }
    assert set(of_caption(None).values()) == {None}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [("", 0.0), ("cat", 0.0), ("cat Cat", 0.5), ("Straße STRASSE strasse x", 0.5), ("a b c d", 0.0)],
)
def test_repetition(caption: str, expected: float) -> None:
    assert signals.repetition(caption.split()) == expected


def test_captions_that_say_the_same_have_the_same_hash() -> None:
    assert signals.caption_sha256("A  Red\tCAT\n") == signals.caption_sha256("a red cat")
    assert signals.caption_sha256("a red cat") != signals.caption_sha256("ared cat")


@pytest.mark.parametrize("caption", ["123 !?", "\U0001f600", " ", "\0", ""])
def test_a_caption_without_letters(caption: str) -> None:
    found = of_caption(caption)
    assert (found["caption_letters"], found["caption_letter_frac"]) == (0, 0.0)
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


@pytest.mark.parametrize("caption", ["a\0b", "x" * 100_000, "a\u202eb \u0301", "__label__de hello", "\ufffe\uffffa"])
def test_a_hostile_caption_has_signals_too(caption: str) -> None:
    assert of_caption(caption)["language"] is not None


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.binary(max_size=60))
def test_shares_are_shares_whatever_comes(caption: str, content: bytes) -> None:
    found = signals.measure(signals.caption_views(caption) | signals.picture_views(content, 100))
    for name in ("caption_repetition", "caption_letter_frac", "script_frac", "language_probability"):
        assert found[name] is None or 0 <= found[name] <= 1
    assert found["caption_chars"] == len(caption)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_blur_and_flatness_of_any_small_picture(height: int, width: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    assert signals.blur(picture) >= 0
    assert 1 / picture.size - 1e-6 <= signals.flatness(picture) <= 1
    if height > 1 and width > 1:
        framed = np.pad(picture.astype(int), 1, mode="reflect")
        edges = framed[:-2, 1:-1] + framed[2:, 1:-1] + framed[1:-1, :-2] + framed[1:-1, 2:] - 4 * framed[1:-1, 1:-1]
        assert signals.blur(picture) == pytest.approx(edges.var(), abs=1e-5)
