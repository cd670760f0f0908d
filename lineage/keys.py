"""Sorted keys on disk: which rows have a hash, found by bisection in a memory map, however many rows there are.

A key is the first 16 bytes of a digest. NAME.keys.npy holds the keys of all rows that have one, (N,) of 16 bytes,
sorted; NAME.rows.npy their rows, (N,) uint32, ascending where keys are equal. Equal content is equal bytes. A look-up
touches some twenty pages of each file, whatever N is; of 10^8 rows a file of keys takes 1.6 GB and is never read whole.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

NUM_DIGITS = 32
"""Hex digits of a digest that count: 128 bits, so that 10^8 rows meet by chance once in 10^22."""
MAX_ROWS = 2**32 - 1

KEY: np.dtype[Any] = np.dtype("S16")
"""Of a file of keys: the first 16 bytes of a digest."""
_NO_DIGIT = 255
_DIGIT = np.full(256, _NO_DIGIT, np.uint8)
_DIGIT[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)

KeyArray = npt.NDArray[np.bytes_]
Rows = npt.NDArray[np.uint32]


@dataclasses.dataclass(frozen=True, slots=True)
class Keys:
    """Sorted keys and the row of each."""

    key_N: KeyArray
    row_N: Rows

    def __len__(self) -> int:
        return len(self.key_N)

    def find(self, digest: str) -> Rows:
        """Returns the rows whose digest begins as this one does, ascending.

        Args:
            digest: 32 hex digits or more; those beyond 32 are for the reader of the rows to compare.

        Raises:
            ValueError: if it is none.
        """
        first, last = self._place(digest)
        return np.asarray(self.row_N[first:last])

    def count(self, digest: str) -> int:
        """Returns how many rows `find` would return, without reading them."""
        first, last = self._place(digest)
        return last - first

    def _place(self, digest: str) -> tuple[int, int]:
        key = as_key(digest)
        return int(np.searchsorted(self.key_N, key, "left")), int(np.searchsorted(self.key_N, key, "right"))


def of(batches: Iterable[pa.ChunkedArray]) -> Keys:
    """Returns the keys of rows, sorted; rows without a digest have none.

    Args:
        batches: the N rows' digests in order: strings of 32 lower-case hex digits or more, or null.

    Raises:
        ValueError: if one is something else, naming it, or N is beyond MAX_ROWS.
    """
    keys, rows, start = [np.empty(0, KEY)], [np.empty(0, np.uint32)], 0
    for digests in batches:
        if start + len(digests) > MAX_ROWS:
            raise ValueError(f"more than {MAX_ROWS} rows: a file of keys holds no more")
        rows.append((np.flatnonzero(pc.is_valid(digests).to_numpy()) + start).astype(np.uint32))
        keys.append(unhex(digests.drop_null()))
        start += len(digests)
    return of_array(np.concatenate(keys), np.concatenate(rows))


def of_array(key_N: KeyArray, row_N: Rows) -> Keys:
    """Returns keys and their rows, which ascend, sorted by key."""
    words = key_N.view(">u8").reshape(-1, 2)
    order = np.lexsort((words[:, 1], words[:, 0]))
    return Keys(key_N[order], row_N[order])


def save(keys: Keys, folder: Path, name: str) -> None:
    """Writes NAME.keys.npy and NAME.rows.npy."""
    for kind, array in (("keys", keys.key_N), ("rows", keys.row_N)):
        save_array(array, folder / f"{name}.{kind}.npy")


def save_array(array: npt.NDArray[Any], path: Path) -> None:
    """Writes a .npy file by a rename; equal arrays are equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)  # type: ignore[no-untyped-call]
    partial.rename(path)


def load(folder: Path, name: str) -> Keys:
    """Returns keys as memory maps.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if a file is damaged or the two do not belong together, naming it.
    """
    kinds = (("keys", KEY), ("rows", np.dtype(np.uint32)))
    found = [mapped(folder / f"{name}.{kind}.npy", dtype) for kind, dtype in kinds]
    if len(found[0]) != len(found[1]):
        raise ValueError(
            f"{folder / name}.keys.npy: {len(found[0])} keys for {len(found[1])} rows; `dvc repro` mends it"
        )
    return Keys(*found)


def as_key(digest: str) -> np.bytes_:
    """Returns the key of one digest.

    Raises:
        ValueError: if it is not 32 hex digits or more.
    """
    try:
        octets = bytes.fromhex(digest[:NUM_DIGITS])
    except ValueError:
        octets = b""
    if len(octets) != KEY.itemsize:
        raise ValueError(f"{digest!r} is no digest of {NUM_DIGITS} hex digits or more")
    key: np.bytes_ = np.frombuffer(octets, KEY)[0]
    return key


def unhex(digests: pa.ChunkedArray) -> KeyArray:
    """Returns (N,) the first 16 bytes of digests given as hex digits, none of them null.

    Raises:
        ValueError: if one is something else, naming it.
    """
    return _octets(digests, NUM_DIGITS).view(KEY).ravel()


def unhex_words(words: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Returns (N,) numbers of 64 bits given as 16 hex digits, none of them null.

    Raises:
        ValueError: if one is something else, naming it.
    """
    return _octets(words, 16).view(">u8").ravel().astype(np.uint64)


def _octets(digests: pa.ChunkedArray, num_digits: int) -> npt.NDArray[np.uint8]:
    parts = [_unhex(chunk, num_digits) for chunk in digests.chunks if len(chunk)]
    return np.ascontiguousarray(np.concatenate([np.empty((0, num_digits // 2), np.uint8), *parts]))


def _unhex(chunk: pa.Array, num_digits: int) -> npt.NDArray[np.uint8]:
    heads = pc.utf8_slice_codeunits(chunk, 0, num_digits).cast(pa.large_string())
    octets = np.frombuffer(heads.buffers()[2] or b"", np.uint8)
    lengths = pc.binary_length(heads)
    if pc.min(lengths).as_py() != num_digits or len(octets) != num_digits * len(heads):
        raise ValueError(_bad(chunk, num_digits))
    digits = _DIGIT[octets].reshape(len(heads), num_digits)
    if digits.max() == _NO_DIGIT:
        raise ValueError(_bad(chunk, num_digits))
    packed: npt.NDArray[np.uint8] = (digits[:, 0::2] << np.uint8(4)) | digits[:, 1::2]
    return packed


def _bad(chunk: pa.Array, num_digits: int) -> str:
    good = pc.match_substring_regex(chunk, f"^[0-9a-f]{{{num_digits}}}")
    value = chunk[pc.index(good, False).as_py()].as_py()
    return f"{value!r} is no digest of {num_digits} hex digits or more"


def mapped(path: Path, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Returns a one-dimensional array of a .npy file as a memory map.

    Raises:
        FileNotFoundError: if the file is not there.
        ValueError: if it is damaged or holds something else, naming it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not there; `dvc pull` brings it, or `dvc repro` makes it")
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path}: damaged; `dvc repro` mends it") from None
    if array.dtype != dtype or array.ndim != 1:
        raise ValueError(f"{path}: holds {array.dtype} of {array.ndim} dimensions; `dvc repro` mends it")
    return array
