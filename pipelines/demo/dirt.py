"""The web's dirt: how each kind is made, how much of it there is, and where it should be caught."""

import dataclasses
import struct
import zlib
from collections.abc import Sequence
from typing import Final

from PIL import Image

from pipelines.demo.artwork import WHITE, encode

SEED: Final = 20261001
TINY_PX: Final = 16
BANNER_PX: Final = (400, 40)
BOMB_SIDES_PX: Final = (12_000, 20_000, 30_000)
KEPT_OF_TRUNCATED: Final = 0.5
MISSING_BYTES: Final = 700
"""How much longer than the body a Content-Length is that promises too much."""
SLOW_S: Final = 60.0
"""Ten times any deadline for one picture that suits the demo."""
RESIZED_FRACTION: Final = 0.85
REENCODED_QUALITY: Final = 70
WRONG_ENDING_FRACTION: Final = 0.03
KNOWN_FRACTION: Final = 0.25
"""Of the second list's clean rows: those whose picture's hashes the list gives."""
SHORT_CAPTIONS: Final = ("ok", "x", "hm", "no", "a", "hi", "b", "up", "id", "z", "oh", "my")
NOT_URLS: Final = (
    "not a url",
    "noto.demo.test/no-scheme.png",
    "ftp://noto.demo.test/picture.png",
    "javascript:alert(1)",
    "http:///no-host.png",
    "file:///picture.png",
    "data:image/png;base64,iVBORw0KGgo=",
    "/relative/picture.png",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How many rows of each kind, as (first snapshot, second snapshot)."""

    dead_404: tuple[int, int] = (12, 3)
    dead_410: tuple[int, int] = (6, 2)
    dead_500: tuple[int, int] = (10, 3)
    dead_host: tuple[int, int] = (12, 3)
    html: tuple[int, int] = (20, 4)
    truncated: tuple[int, int] = (28, 8)
    empty: tuple[int, int] = (12, 3)
    incomplete: tuple[int, int] = (12, 3)
    noai: tuple[int, int] = (20, 5)
    slow: tuple[int, int] = (2, 1)
    redirect_loop: tuple[int, int] = (1, 1)
    bomb: tuple[int, int] = (2, 1)
    tiny: tuple[int, int] = (24, 6)
    banner: tuple[int, int] = (16, 4)
    swapped_caption: tuple[int, int] = (48, 12)
    latin_language: tuple[int, int] = (48, 12)
    other_script: tuple[int, int] = (32, 8)
    short_caption: tuple[int, int] = (16, 4)
    exact_duplicate: tuple[int, int] = (40, 20)
    near_duplicate: tuple[int, int] = (40, 20)
    tone_variant: tuple[int, int] = (96, 24)
    planted_evaluation: tuple[int, int] = (36, 12)
    redirect: tuple[int, int] = (24, 6)
    flaky: tuple[int, int] = (4, 0)
    drift_reencoded: tuple[int, int] = (0, 8)
    drift_replaced: tuple[int, int] = (0, 6)
    drift_untold: tuple[int, int] = (0, 4)
    no_url: tuple[int, int] = (3, 2)
    not_a_url: tuple[int, int] = (5, 3)
    no_caption: tuple[int, int] = (4, 2)
    unparsable_row: tuple[int, int] = (3, 2)
    repeat: tuple[int, int] = (20, 6)
    seen_before: tuple[int, int] = (0, 60)
    seen_before_dead: tuple[int, int] = (0, 12)
    new_caption: tuple[int, int] = (0, 40)
    new_caption_dead: tuple[int, int] = (0, 30)
    revived: tuple[int, int] = (0, 8)


EXPECTED: Final[dict[str, tuple[str, str]]] = {
    "no_url": ("source", "no_url"),
    "not_a_url": ("source", "not_a_url"),
    "no_caption": ("source", "no_caption"),
    "unparsable_row": ("source", "unparsable_row"),
    "repeat": ("source", "repeat"),
    "dead_404": ("download", "http_404"),
    "dead_410": ("download", "http_410"),
    "dead_500": ("download", "server_error"),
    "dead_host": ("download", "dns"),
    "empty": ("download", "empty_body"),
    "html": ("download", "not_an_image"),
    "incomplete": ("download", "incomplete_body"),
    "noai": ("download", "opt_out"),
    "slow": ("download", "timeout"),
    "redirect_loop": ("download", "too_many_redirects"),
    "new_caption_dead": ("download", "http_404"),
    "drift_replaced": ("download", "hash_mismatch"),
    "drift_untold": ("download", "hash_unverified"),
    "not_yet_there": ("download", "server_error"),
    "truncated": ("measure", "truncated"),
    "bomb": ("measure", "too_many_pixels"),
    "tiny": ("select", "too_small"),
    "banner": ("select", "too_elongated"),
    "latin_language": ("select", "language"),
    "other_script": ("select", "script"),
    "short_caption": ("select", "caption_too_short"),
    "exact_duplicate": ("select", "duplicate_exact"),
    "natural_duplicate": ("select", "duplicate_exact"),
    "new_caption": ("select", "duplicate_exact"),
    "seen_before": ("select", "seen_before"),
    "seen_before_dead": ("select", "seen_before"),
    "near_duplicate": ("select", "duplicate_near"),
    "tone_variant": ("", ""),
    "swapped_caption": ("select", "below_top_fraction"),
    "planted_evaluation": ("select", "test_picture"),
    "natural_leak": ("select", "test_picture"),
    "redirect": ("", ""),
    "wrong_ending": ("", ""),
    "flaky": ("", ""),
    "revived": ("", ""),
    "drift_reencoded": ("", ""),
    "clean": ("", ""),
}
"""Where each kind should be caught, and with which reason; neither if the row is good."""


def cut(content: bytes) -> bytes:
    """Returns the first half of a file."""
    return content[: int(len(content) * KEPT_OF_TRUNCATED)]


def html_page(title: str) -> bytes:
    """Returns the page that a website shows instead of a picture it no longer has."""
    return (
        f"<!DOCTYPE html>\n<html lang='en'><head><title>{title}</title></head>\n"
        f"<body><h1>{title}</h1><p>This picture has moved. Please sign in to see it.</p></body></html>\n"
    ).encode()


def icon(image: Image.Image) -> bytes:
    """Returns a picture as a PNG of 16 x 16 pixels."""
    return encode(image.resize((TINY_PX, TINY_PX), Image.Resampling.LANCZOS), "PNG")


def banner(images: Sequence[Image.Image]) -> bytes:
    """Returns pictures side by side in a PNG of 400 x 40 pixels, as many as have room, left to right."""
    width, height = BANNER_PX
    strip = Image.new("RGB", BANNER_PX, WHITE)
    for index, image in enumerate(images[: width // height]):
        strip.paste(image.resize((height, height), Image.Resampling.LANCZOS), (index * height, 0))
    return encode(strip, "PNG")


def resized(image: Image.Image) -> bytes:
    """Returns a picture somewhat smaller, as JPEG."""
    size = (round(image.width * RESIZED_FRACTION), round(image.height * RESIZED_FRACTION))
    return encode(image.resize(size, Image.Resampling.BICUBIC), "JPEG")


def reencoded(image: Image.Image) -> bytes:
    """Returns a picture of the same size as JPEG of a lower quality."""
    return encode(image, "JPEG", REENCODED_QUALITY)


def parked() -> bytes:
    """Returns the picture that a sold domain answers every link with, as PNG: stripes."""
    strip = Image.new("RGB", (64, 64), WHITE)
    for left in range(0, 64, 16):
        strip.paste((20, 60, 160), (left, 0, left + 8, 64))
    return encode(strip, "PNG")


def bomb(side_px: int) -> bytes:
    """Returns a small PNG file whose white picture takes side x side pixels in memory: never decode it."""
    row = b"\0" + b"\xff" * ((side_px + 7) // 8)
    packer = zlib.compressobj(9)
    rows_at_once = 100
    packed = [packer.compress(row * rows_at_once) for _ in range(side_px // rows_at_once)]
    packed += [packer.compress(row * (side_px % rows_at_once)), packer.flush()]
    one_bit_grey = (1, 0, 0, 0, 0)
    header = struct.pack(">IIBBBBB", side_px, side_px, *one_bit_grey)
    chunks = ((b"IHDR", header), (b"IDAT", b"".join(packed)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
