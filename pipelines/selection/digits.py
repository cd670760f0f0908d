"""Hex digits of records as numbers and back, whole columns at a time.

Letters in names: N rows, W words of 64 bits.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Words = npt.NDArray[np.uint64]

_DIGITS = 16  # of one word
_NO_DIGIT = 255
_VALUE = np.full(256, _NO_DIGIT, np.uint8)
for _value, _digit in enumerate(b"0123456789abcdef"):
    _VALUE[_digit] = _value
_CHARACTER = np.frombuffer(b"0123456789abcdef", np.uint8)


def words(text: pa.Array, num_words: int) -> Words:
    """Returns the first 16 x `num_words` hex digits of each row as (N, W) uint64, in the same order as the texts.

    Args:
        text: N strings of lower-case hex digits; null counts as zeros.

    Raises:
        ValueError: if a row has fewer digits, or something else in their place, naming it.
    """
    num_digits = _DIGITS * num_words
    filled = pc.fill_null(text, "0" * num_digits)
    if len(filled) and pc.min(pc.binary_length(filled)).as_py() < num_digits:
        short = filled.filter(pc.less(pc.binary_length(filled), num_digits))[0].as_py()
        raise ValueError(f"{short!r} is not {num_digits} hex digits")
    cut = pc.utf8_slice_codeunits(filled, 0, num_digits)
    characters = np.frombuffer(cut.buffers()[2] or b"", np.uint8, count=len(cut) * num_digits)
    values = _VALUE[characters].reshape(len(cut), num_digits)
    bad = (values == _NO_DIGIT).any(axis=1)
    if bad.any():
        raise ValueError(f"{cut[int(bad.argmax())].as_py()!r} is not {num_digits} lower-case hex digits")
    octets = (values[:, ::2] << 4) | values[:, 1::2]
    return octets.view(">u8").astype(np.uint64).reshape(len(cut), num_words)


def text(words_NW: Words) -> pa.Array:
    """Returns N strings of hex digits, 16 for each word: the reverse of `words`."""
    spelt = spelling(words_NW)
    offsets = np.arange(len(spelt) + 1, dtype=np.int64) * spelt.itemsize
    made = pa.LargeStringArray.from_buffers(len(spelt), pa.py_buffer(offsets), pa.py_buffer(spelt))
    return made.cast(pa.string())


def spelling(words_NW: Words) -> npt.NDArray[np.bytes_]:
    """Returns the same as an array of N byte strings."""
    num_rows, num_words = words_NW.shape
    num_digits = _DIGITS * num_words
    octets = np.ascontiguousarray(words_NW).astype(">u8").view(np.uint8).reshape(num_rows, num_digits // 2)
    characters = np.empty((num_rows, num_digits), np.uint8)
    characters[:, ::2], characters[:, 1::2] = _CHARACTER[octets >> 4], _CHARACTER[octets & 15]
    return characters.view(f"S{num_digits}")[:, 0]


def keys(words_NW: Words) -> pa.Array:
    """Returns the words of each row as one binary value, for arrow's look-ups."""
    num_rows, num_words = words_NW.shape
    octets = np.ascontiguousarray(words_NW).astype(">u8")
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(8 * num_words), num_rows, [None, pa.py_buffer(octets)])
