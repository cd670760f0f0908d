"""Bytes are sniffed, bounded before decoding, and damage is told from an early end."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines import pictures
from tests.builders import make_picture

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
    ("GIF", {}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_good_picture(kind: str, options: dict[str, Any]) -> None:
    content = make_picture(1, (50, 40), kind, **options)
    assert pictures.sniff(content) == pictures.EXTENSIONS[kind]
    size, rgb, error = pictures.read(content, 2000)
    assert (size, error) == ((50, 40), None)
    assert rgb is not None
    assert (rgb.shape, str(rgb.dtype)) == ((40, 50, 3), "uint8")
    with Image.open(io.BytesIO(content)) as picture:
        assert np.array_equal(rgb, np.asarray(picture.convert("RGB")))
    assert pictures.read(content, 1999) == ((50, 40), None, "too_many_pixels")
    assert not pictures.is_cut_short(content)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_picture_cut_anywhere_ends_early(kind: str, options: dict[str, Any]) -> None:
    content = make_picture(1, (50, 40), kind, **options)
    for length in range(16, len(content) - 20, 97):
        part = content[:length]
        assert pictures.is_cut_short(part) or (kind == "GIF" and part.endswith(b";"))
        size, rgb, error = pictures.read(part, 2000)
        assert (size in (None, (50, 40)), rgb, error) == (True, None, "truncated")


def test_a_damaged_picture_is_not_called_short() -> None:
    content = bytearray(make_picture(1, (50, 40)))
    content[len(content) // 2] ^= 0xFF
    assert not pictures.is_cut_short(bytes(content))
    assert pictures.read(bytes(content), 2000) == ((50, 40), None, "undecodable")


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_hostile_bytes_raise_nothing_else(kind: str, options: dict[str, Any]) -> None:
    content, draw = make_picture(1, (50, 40), kind, **options), np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(content)
        for place in draw.integers(8, 80 if draw.random() < 0.5 else len(content), 3):
            damaged[place] = draw.integers(256)
        _, rgb, error = pictures.read(bytes(damaged), 10_000)
        assert (rgb is None) == (error in {"truncated", "undecodable", "too_many_pixels"})


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff\xe0", b"GIF89a"]), st.binary())
def test_any_bytes_are_read_or_have_a_reason(start: bytes, content: bytes) -> None:
    size, rgb, error = pictures.read(start + content, 10_000)
    assert (rgb is None) == (error is not None)
    assert rgb is None or size == rgb.shape[1::-1]


def bombs() -> dict[str, bytes]:
    """Returns pictures that declare 60 000 x 60 000 pixels, or as many as their format can."""
    png, jpeg, gif = (bytearray(make_picture(1, kind=kind)) for kind in ("PNG", "JPEG", "GIF"))
    png[16:24] = struct.pack(">II", 60_000, 60_000)
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = struct.pack(">HH", 60_000, 60_000)
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    lossy, lossless = bytearray(make_picture(1, kind="WEBP")), bytearray(make_picture(1, kind="WEBP", lossless=True))
    lossy[26:30] = b"\xff\x3f\xff\x3f"
    lossless[21:25] = b"\xff\xff\xff\x0f"
    canvas = bytearray(make_picture(1, kind="WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"))
    assert canvas[12:16] == b"VP8X"
    canvas[24:30] = b"\x5f\xea\x00\x5f\xea\x00"
    found = {"png": png, "jpg": jpeg, "gif": gif, "vp8": lossy, "vp8l": lossless, "vp8x": canvas}
    return {name: bytes(content) for name, content in found.items()}


BOMBS = bombs()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_tells_its_size_without_being_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", refuse)
    size, rgb, error = pictures.read(BOMBS[name], 50_000_000)
    assert (rgb, error) == (None, "too_many_pixels")
    assert size is not None
    assert size[0] == size[1] == {"vp8": 16383, "vp8l": 16384}.get(name, 60_000)


@pytest.mark.parametrize("content", [b"", b"x", b"<html></html>", b"BM" + bytes(60), b"II*\0" + bytes(60), b"%PDF-1.4"])
def test_what_is_no_picture_we_take(content: bytes) -> None:
    assert pictures.sniff(content) is None
    assert pictures.read(content, 10_000) == (None, None, "undecodable")
    assert not pictures.is_cut_short(content)


@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\1\0WEBP", b"GIF89a"])
def test_a_bare_start_has_no_size(start: bytes) -> None:
    assert pictures.read(start, 10_000) == (None, None, "truncated")
    assert pictures.is_cut_short(start)


def test_alpha_is_dropped() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(file, "PNG")
    rgb = pictures.read(file.getvalue(), 4).rgb
    assert rgb is not None
    assert rgb.tolist() == [[[10, 20, 30]] * 2] * 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_of_png_comes_as_rgb(mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, (3, 2)).save(file, "PNG")
    rgb = pictures.read(file.getvalue(), 6).rgb
    assert rgb is not None
    assert rgb.shape == (2, 3, 3)
    assert not rgb.any()


def test_a_picture_of_no_pixels_is_undecodable() -> None:
    content = make_picture().replace(b"\0\0\0\x14\0\0\0\x10", bytes(8), 1)
    assert pictures.read(content, 10_000) == ((0, 0), None, "undecodable")


@pytest.mark.parametrize(
    ("size", "max_side_px", "expected"),
    [((50, 40), 25, (25, 20)), ((40, 50), 25, (20, 25)), ((50, 1), 10, (10, 1)), ((50, 40), 49, (49, 39))],
)
@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_larger_picture_is_reduced_in_its_family(
    kind: str, options: dict[str, Any], size: tuple[int, int], max_side_px: int, expected: tuple[int, int]
) -> None:
    content = make_picture(1, size, kind, **options)
    small = pictures.shrink(content, max_side_px)
    assert pictures.read(small, 10_000).size == expected
    assert pictures.sniff(small) == {"GIF": "png"}.get(kind, pictures.EXTENSIONS[kind])
    assert pictures.shrink(content, max_side_px) == small
    assert pictures.shrink(content, max(size)) is content


def test_a_reduced_picture_shows_what_a_trainer_saw_and_carries_nothing_else() -> None:
    file = io.BytesIO()
    half_seen = Image.new("RGBA", (8, 8), (200, 100, 0, 0))  # its colour counts, its transparency does not
    half_seen.save(file, "PNG", icc_profile=b"profile", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
    small = pictures.shrink(file.getvalue(), 4)
    with Image.open(io.BytesIO(small)) as picture:
        assert picture.mode == "RGB"
        assert not {"icc_profile", "exif"} & set(picture.info)
        assert np.asarray(picture).tolist() == [[[200, 100, 0]] * 4] * 4
