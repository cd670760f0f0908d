"""Pictures of the demo as files: every drawing flattened on white, without alpha, in its vendor's format."""

import dataclasses
import hashlib
import io
from pathlib import Path
from typing import Final, Literal

import numpy as np
import resvg_py
from PIL import Image

from lineage import phash
from pipelines.demo.emoji import Drawing

Encoding = Literal["PNG", "JPEG", "WEBP"]

FORMATS: Final[dict[str, tuple[Encoding, int]]] = {
    "noto": ("PNG", 64),
    "fluent": ("WEBP", 96),
    "openmoji": ("JPEG", 72),
    "twemoji": ("PNG", 64),
    "lineart": ("PNG", 72),
}
"""Format and width in pixels of each vendor's pictures."""

QUALITY: Final = 90
ENDINGS: Final[dict[Encoding, str]] = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}
WHITE: Final = (255, 255, 255)


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A drawing as it stands on a website or in an evaluation set."""

    drawing: Drawing
    content: bytes
    encoding: Encoding
    uid: str
    """First 32 hex digits of the sha256 of the content."""
    pixel_sha256: str


def picture(drawing: Drawing) -> Picture:
    """Returns a drawing as a finished picture file."""
    encoding, width_px = FORMATS[drawing.vendor]
    content = encode(paint(drawing.path, width_px), encoding)
    pixels = phash.pixel_sha256(np.asarray(load(content)))
    return Picture(drawing, content, encoding, uid_of(content), pixels)


def paint(path: Path, width_px: int) -> Image.Image:
    """Returns an RGB picture of this width on a white ground from an SVG, PNG or WebP file; its shape is kept.

    Raises:
        ValueError: if the file is not a picture, naming it.
    """
    try:
        image = _render(path, width_px) if path.suffix == ".svg" else Image.open(path)
        image = image.convert("RGBA")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a picture ({error}); `npm ci` puts the packages in place again") from None
    flat = Image.alpha_composite(Image.new("RGBA", image.size, (*WHITE, 255)), image).convert("RGB")
    height_px = round(width_px * flat.height / flat.width)
    return flat if flat.width == width_px else flat.resize((width_px, height_px), Image.Resampling.LANCZOS)


def encode(image: Image.Image, encoding: Encoding, quality: int = QUALITY) -> bytes:
    """Returns an RGB picture as the bytes of a file; `quality` is of no use to PNG."""
    buffer = io.BytesIO()
    if encoding == "PNG":
        image.save(buffer, "PNG")
    else:
        image.save(buffer, encoding, quality=quality)
    return buffer.getvalue()


def load(content: bytes) -> Image.Image:
    """Returns the RGB picture in a file's bytes."""
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


def uid_of(content: bytes) -> str:
    """Returns the uid of an evaluation picture: the first 32 hex digits of the sha256 of its bytes."""
    return hashlib.sha256(content).hexdigest()[:32]


def _render(path: Path, width_px: int) -> Image.Image:
    # without the machine's fonts: their choice would change the pixels
    png = resvg_py.svg_to_bytes(svg_path=str(path), width=width_px, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png)))
