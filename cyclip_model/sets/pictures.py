"""Pictures of evaluation sets: decoded with a bound on their size, and hashed for what keeps them out of training."""

import hashlib
import io
import struct
import warnings
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from lineage import phash

STRICT = ("PNG", "JPEG", "WEBP")
"""What a picture of our own sets may be."""
KNOWN_FORMATS = (*STRICT, "GIF", "BMP", "PPM")
"""What pictures of published sets are: some that are called .jpg (in Oxford-IIIT Pet) are none."""
HASHES = pa.schema(
    [(name, pa.string()) for name in ("uid", "part", "sha256", "pixel_sha256", "phash")] + [("thumbnail", pa.binary())]
)

Row = dict[str, Any]


class UndecodableError(Exception):
    """A picture that cannot be used; its argument is one of lineage's reasons."""


def decode(image: bytes, max_pixels: int, formats: tuple[str, ...] = STRICT) -> Image.Image:
    """The picture as RGB; its size is bounded before a pixel is decoded.

    Args:
        image: the file's content.
        max_pixels: pictures that declare more are refused.
        formats: what Pillow may open it as.

    Raises:
        UndecodableError: with the reason too_many_pixels, truncated or undecodable.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(image), formats=formats)
            if picture.width * picture.height > max_pixels:
                raise UndecodableError("too_many_pixels")
            return picture.convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UndecodableError("too_many_pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise UndecodableError("truncated" if "truncated" in str(error) else "undecodable") from None


def examine(row: Row, max_pixels: int, formats: tuple[str, ...] = STRICT) -> tuple[Row, Row]:
    """The row with its picture's width and height, and the picture's hashes.

    Raises:
        UndecodableError: the picture cannot be used.
    """
    picture = decode(row["image"], max_pixels, formats)
    rgb_HW3 = np.asarray(picture)
    sha256 = hashlib.sha256(row["image"]).hexdigest()
    hashes = {"uid": row["uid"], "sha256": sha256, "pixel_sha256": phash.pixel_sha256(rgb_HW3)}
    looks = {"phash": phash.hex_hash(phash.perceptual_hash(rgb_HW3)), "thumbnail": phash.thumbnail(rgb_HW3)}
    return {**row, "width": picture.width, "height": picture.height}, hashes | looks
