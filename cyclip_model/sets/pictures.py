"""Pictures of evaluation sets: decoded within a bound, measured and hashed."""

import hashlib
import io
import struct
import warnings
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from lineage import phash

_TEXT = pa.string()
HASHES = pa.schema(
    [(name, _TEXT) for name in ("uid", "part", "sha256", "pixel_sha256", "phash")] + [("thumbnail", pa.binary())]
)
MAX_RATIO = 200
"""Longer over shorter side: towers scale the shorter one up to their size, and the longer one with it, so that a
picture of 1 x 500,000 pixels, 1.5 kB of PNG, takes gigabytes."""
KEPT_AS_FOUND = ("PNG", "JPEG", "WEBP")
_REWRITTEN = ("PPM", "GIF", "BMP")

Row = dict[str, Any]


class UndecodableError(Exception):
    """A picture that cannot be used; its argument is one of lineage's reasons."""


def decode(image: bytes, max_pixels: int, formats: tuple[str, ...] = KEPT_AS_FOUND) -> Image.Image:
    """The picture as RGB; its size is bounded before a pixel is decoded.

    Raises:
        UndecodableError: with the reason too_many_pixels, too_elongated, truncated or undecodable.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound is the caller's
            picture = Image.open(io.BytesIO(image), formats=formats)
            if picture.width * picture.height > max_pixels:
                raise UndecodableError("too_many_pixels")
            if max(picture.size) > MAX_RATIO * min(picture.size):
                raise UndecodableError("too_elongated")
            return picture.convert("RGB")
    except Image.DecompressionBombError:
        raise UndecodableError("too_many_pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise UndecodableError("truncated" if "truncated" in str(error) else "undecodable") from None


def examine(row: Row, max_pixels: int) -> tuple[Row, Row]:
    """The row with its picture's width and height, and the picture's hashes.

    Raises:
        UndecodableError: the picture cannot be used.
    """
    picture = decode(row["image"], max_pixels)
    rgb_HW3 = np.asarray(picture)
    sha256 = hashlib.sha256(row["image"]).hexdigest()
    hashes = {"uid": row["uid"], "sha256": sha256, "pixel_sha256": phash.pixel_sha256(rgb_HW3)}
    looks = {"phash": phash.hex_hash(phash.perceptual_hash(rgb_HW3)), "thumbnail": phash.thumbnail(rgb_HW3)}
    return {**row, "width": picture.width, "height": picture.height}, hashes | looks


def as_png(picture: Image.Image) -> bytes:
    """The picture as PNG, pixel for pixel: the same pixels are the same bytes."""
    target = io.BytesIO()
    picture.save(target, "PNG")
    return target.getvalue()


def storable(image: bytes, max_pixels: int) -> bytes:
    """The bytes as found; of the old formats without loss (GTSRB comes as PPM) the same pixels as PNG.

    Raises:
        UndecodableError: such a file cannot be decoded.
    """
    if image[:2] in (b"P5", b"P6", b"GI", b"BM"):
        return as_png(decode(image, max_pixels, _REWRITTEN))
    return image
