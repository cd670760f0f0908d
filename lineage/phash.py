"""Perceptual and pixel hashes of decoded pictures."""

import hashlib

import cv2
import numpy as np
import numpy.typing as npt

_SIDE = 32
_BAND = 8
_CLEARLY = 0.05
_THUMBNAIL_SIDE = 8


def perceptual_hash(rgb: npt.NDArray[np.uint8]) -> int:
    """Returns a 64-bit DCT hash: pictures that look alike differ in few bits.

    Args:
        rgb: (H, W, 3) uint8, no alpha.

    The picture is reduced to 32 x 32 grey levels; which of its 8 x 8 lowest DCT coefficients are clearly above zero
    are the bits, row by row, most significant first. Clearly: by 0.05 of their root mean square, the mean brightness
    left out. Against their median, as is usual, half the bits of a symmetric drawing would be noise: half of its
    coefficients are about zero, and so is the median.
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_BAND, :_BAND].ravel()
    bits = low > _CLEARLY * np.sqrt(np.mean(low[1:] ** 2))
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hex_hash(value: int) -> str:
    """Returns a 64-bit hash as 16 hex digits, the form kept in records."""
    return f"{value:016x}"


def hamming(first: int, second: int) -> int:
    """Returns in how many of 64 bits two hashes differ."""
    return (first ^ second).bit_count()


def thumbnail(rgb: npt.NDArray[np.uint8]) -> bytes:
    """Returns the picture reduced to 8 x 8 pixels: 192 bytes, row by row, R, G, B.

    Args:
        rgb: (H, W, 3) uint8, no alpha.

    The perceptual hash sees grey structure alone: a green book has the hash of an orange one. Pictures that are alike
    indeed, encoded anew or made smaller, have thumbnails a few grey levels apart.
    """
    octets: bytes = cv2.resize(rgb, (_THUMBNAIL_SIDE, _THUMBNAIL_SIDE), interpolation=cv2.INTER_AREA).tobytes()
    return octets


def pixel_sha256(rgb: npt.NDArray[np.uint8]) -> str:
    """Returns the sha256 of height, width and pixels: equal pictures have it whatever their file format.

    Args:
        rgb: (H, W, 3) uint8.
    """
    head = f"{rgb.shape[0]}x{rgb.shape[1]}:".encode()
    return hashlib.sha256(head + np.ascontiguousarray(rgb).tobytes()).hexdigest()
