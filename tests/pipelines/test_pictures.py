"""Bytes are sniffed, bounded before decoding, and damage is told from an early end."""

import contextlib
import io
import struct
from typing import Any

import numpy as np
import pytest
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
    assert pictures.declared_size(content) == (50, 40)
    rgb = pictures.decode(content)
    assert (rgb.shape, str(rgb.dtype)) == ((40, 50, 3), "uint8")
    assert not pictures.is_cut_short(content)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_picture_cut_anywhere_ends_early(kind: str, options: dict[str, Any]) -> None:
    content = make_picture(1, (50, 40), kind, **options)
    for length in range(16, len(content) - 20, 97):
        part = content[:length]
        assert pictures.is_cut_short(part) or (kind == "GIF" and part.endswith(b";"))
        if pictures.declared_size(part) is not None:
            with pytest.raises(EOFError):
                pictures.decode(part)


def test_a_damaged_picture_is_not_called_short() -> None:
    content = bytearray(make_picture(1, (50, 40)))
    content[len(content) // 2] ^= 0xFF
    assert not pictures.is_cut_short(bytes(content))
    with pytest.raises(ValueError, match=r"."):
        pictures.decode(bytes(content))


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_hostile_bytes_raise_nothing_else(kind: str, options: dict[str, Any]) -> None:
    content, draw = make_picture(1, (50, 40), kind, **options), np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(content)
        for place in draw.integers(8, 80 if draw.random() < 0.5 else len(content), 3):
            damaged[place] = draw.integers(256)
        size = pictures.declared_size(bytes(damaged))
        if size is not None and size[0] * size[1] < 10_000:
            with contextlib.suppress(EOFError, ValueError):
                assert pictures.decode(bytes(damaged)).ndim == 3


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
    size = pictures.declared_size(BOMBS[name])
    assert size is not None
    assert size[0] == size[1] == {"vp8": 16383, "vp8l": 16384}.get(name, 60_000)


@pytest.mark.parametrize("content", [b"", b"x", b"<html></html>", b"BM" + bytes(60), b"II*\0" + bytes(60), b"%PDF-1.4"])
def test_what_is_no_picture_we_take(content: bytes) -> None:
    assert pictures.sniff(content) is None
    assert pictures.declared_size(content) is None
    assert not pictures.is_cut_short(content)
    with pytest.raises(ValueError, match=r"."):
        pictures.decode(content)


@pytest.mark.parametrize("start", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\1\0WEBP", b"GIF89a"])
def test_a_bare_start_has_no_size(start: bytes) -> None:
    assert pictures.declared_size(start) is None
    assert pictures.is_cut_short(start)


def test_alpha_is_dropped() -> None:
    file = io.BytesIO()
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(file, "PNG")
    assert pictures.decode(file.getvalue()).tolist() == [[[10, 20, 30]] * 2] * 2
