"""Pictures as bytes: their format by sniffing, their size before decoding, their pixels."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp", "GIF": "gif"}
"""Formats that are taken, by Pillow's name, with the extension they get in a shard."""
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"

Image.MAX_IMAGE_PIXELS = None  # our bound decides, before decoding; Pillow's would tell large pictures from others


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


def declared_size(content: bytes) -> tuple[int, int] | None:
    """Returns (width, height) in pixels as the header declares them, without decoding; None if it has none."""
    if content.startswith(_PNG_START) and content[12:16] == b"IHDR" and len(content) >= 24:
        return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    if sniff(content) == "webp":
        return _webp_size(content)
    try:
        with Image.open(io.BytesIO(content), formats=list(EXTENSIONS)) as picture:  # parses the header only
            return picture.size
    except Exception:  # on hostile bytes Pillow raises anything; one picture must not end the run
        return None


def decode(content: bytes) -> npt.NDArray[np.uint8]:
    """Returns the picture as (H, W, 3) uint8 RGB, alpha dropped as open_clip's transform does.

    Raises:
        EOFError: if the data end before the picture does.
        ValueError: if they cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(content), formats=list(EXTENSIONS)) as picture:
            return np.asarray(picture.convert("RGB"))
    except Exception as error:
        ended = is_cut_short(content) or "image file is truncated" in str(error)
        raise (EOFError if ended else ValueError)(str(error)) from None


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
