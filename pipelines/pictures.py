"""Pictures as bytes: their format by sniffing, their size before decoding, their pixels."""

import io
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif"}
"""Formats that are taken, by Pillow's name, with the extension they get in a shard."""
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_PNG: tuple[str, dict[str, Any]] = ("PNG", {"compress_level": 6})
_ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpg": ("JPEG", {"quality": 95, "subsampling": 0, "optimize": False}),
    "webp": ("WEBP", {"quality": 95, "method": 4, "lossless": False}),
    "png": _PNG,
    "gif": _PNG,
}
"""How a reduced picture is written, by the extension of the larger one; every option that shapes the bytes is named."""

Image.MAX_IMAGE_PIXELS = None  # our bound decides, before decoding; Pillow's would tell large pictures from others


class Reading(NamedTuple):
    """What could be read of a picture."""

    size: tuple[int, int] | None
    """(width, height) in pixels, as declared where it was not decoded; None if there is no telling."""
    rgb: npt.NDArray[np.uint8] | None
    """Its pixels as (H, W, 3) uint8, alpha dropped; None where there is an error."""
    error: Literal["truncated", "undecodable", "too_many_pixels"] | None
    """One of lineage.reasons.MEASURE."""


def sniff(content: bytes) -> str | None:
    """Returns the extension of a picture's format by its first bytes, or None where it is not a picture we take."""
    if content.startswith(_PNG_START):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return None


def read(content: bytes, max_pixels: int) -> Reading:
    """Returns what there is to see of a picture; its bytes are untrusted, and opened once.

    Args:
        max_pixels: bound on width x height as declared; a picture beyond it is not decoded.
    """
    size = _header_size(content)
    if size and size[0] * size[1] > max_pixels:
        return Reading(size, None, "too_many_pixels")
    try:
        with Image.open(io.BytesIO(content), formats=list(EXTENSIONS)) as picture:  # parses the header only
            size = size or picture.size
            if picture.width * picture.height > max_pixels:
                return Reading(size, None, "too_many_pixels")
            rgb = _pixels(picture)
    except Exception as error:  # on hostile bytes Pillow raises anything; one picture must not end the run
        ended = is_cut_short(content) or "image file is truncated" in str(error)
        return Reading(size, None, "truncated" if ended else "undecodable")
    return Reading((rgb.shape[1], rgb.shape[0]), rgb, None)


def shrink(content: bytes, max_side_px: int) -> bytes:
    """Returns a picture with no side above `max_side_px` pixels: as it is where it has none, else reduced.

    Reduced pictures keep their proportions (Lanczos) and their family: JPEG stays JPEG and WebP WebP, at quality 95
    as img2dataset's; PNG and GIF become PNG. They show what a trainer sees of the larger one, its first frame in RGB.
    The same Pillow makes the same bytes; another version, or the libraries in it, may make others.
    """
    with Image.open(io.BytesIO(content), formats=list(EXTENSIONS)) as picture:
        if max(picture.size) <= max_side_px:
            return content
        rgb = picture.convert("RGB")
    scale = max_side_px / max(rgb.size)
    size = max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale))
    kind, options = _ENCODERS[sniff(content) or "png"]
    made = io.BytesIO()
    Image.fromarray(np.asarray(rgb.resize(size, Image.Resampling.LANCZOS))).save(made, kind, **options)  # no metadata
    return made.getvalue()


def is_cut_short(content: bytes) -> bool:
    """Returns whether a picture's bytes end before the end its format prescribes."""
    match sniff(content):
        case "png":
            return _PNG_END not in content
        case "jpg":
            return not content.rstrip(b"\0").endswith(b"\xff\xd9")
        case "webp":
            return int.from_bytes(content[4:8], "little") + 8 > len(content)
        case "gif":
            return not content.rstrip(b"\0").endswith(b";")
    return False


def _pixels(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """Returns an open picture's pixels as (H, W, 3) uint8 RGB, alpha dropped as open_clip's transform does."""
    picture.load()
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _header_size(content: bytes) -> tuple[int, int] | None:
    """Returns (width, height) in pixels as a PNG's or a WebP's first bytes declare them; None for anything else."""
    if content.startswith(_PNG_START) and content[12:16] == b"IHDR" and len(content) >= 24:
        return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    return _webp_size(content) if sniff(content) == "webp" else None


def _webp_size(content: bytes) -> tuple[int, int] | None:
    """Returns the size in a WebP's first chunk: opening it would allocate the whole canvas."""
    kind, head = content[12:16], content[20:30]
    if kind == b"VP8X" and len(head) == 10:
        return 1 + int.from_bytes(head[4:7], "little"), 1 + int.from_bytes(head[7:10], "little")
    if kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a" and len(head) == 10:
        return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    if kind == b"VP8L" and head[:1] == b"\x2f" and len(head) >= 5:
        bits = int.from_bytes(head[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return None
