"""How far apart two pictures look, by their thumbnails: what a perceptual hash cannot tell, above all colour.

A thumbnail is 8 x 8 pixels of R, G and B (`lineage.phash.thumbnail`), 192 bytes. The difference of two is the root mean
square of theirs, in grey levels of 0..255: a picture encoded anew or made smaller is 1 to 4 from itself, two pictures
drawn at random are about 70 apart. All sums are of whole numbers below 2^24, so they are exact in float32 as well, in
blocks of any size and on any number of threads.

Letters in names: N rows, M others, P pairs, B = 192 bytes.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.likeness import cosines
from pipelines.likeness.cosines import Index

Thumbnails = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

NUM_BYTES = 192


def thumbnails_of(column: pa.ChunkedArray | pa.Array) -> tuple[Thumbnails, npt.NDArray[np.bool_]]:
    """Returns a column of thumbnails as (N, B) uint8, zeros where it is null, and where it is not, (N,) bool.

    Raises:
        ValueError: if one has another number of bytes, naming the row.
    """
    known_N = np.array([value is not None for value in column.to_pylist()], bool)
    values = [value if value is not None else bytes(NUM_BYTES) for value in column.to_pylist()]
    wrong = next((row for row, value in enumerate(values) if len(value) != NUM_BYTES), None)
    if wrong is not None:
        raise ValueError(f"row {wrong}: a thumbnail has {len(values[wrong])} bytes, not {NUM_BYTES}; run measure again")
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, NUM_BYTES), known_N


def differences(left_NB: Thumbnails, right_MB: Thumbnails, i: Index, j: Index) -> Floats:
    """Returns how far apart the thumbnails of pairs (row i of left, row j of right) are: (P,) float64, grey levels."""
    found = np.empty(len(i), np.float64)
    step = 1 << 15
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        apart = left_NB[i[part]].astype(np.int32) - right_MB[j[part]]
        found[part] = (apart**2).sum(axis=1)
    root: Floats = np.sqrt(found / NUM_BYTES)
    return root


def nearest(left_NB: Thumbnails, right_MB: Thumbnails) -> tuple[Floats, Index]:
    """Returns for each thumbnail how far the nearest of the others is, and which one that is, the first of equals.

    Returns:
        difference (N,) float64, index (N,) int64; infinity and -1 if M is 0.
    """
    difference_N, index_N = np.full(len(left_NB), np.inf), np.full(len(left_NB), -1, np.int64)
    if not len(right_MB):
        return difference_N, index_N
    right_BM = right_MB.T.astype(np.float32)
    norm_M = (right_MB.astype(np.int32) ** 2).sum(axis=1)
    for rows in cosines.blocks(len(left_NB), len(right_MB)):
        products = (left_NB[rows].astype(np.float32) @ right_BM).astype(np.int32)
        index_N[rows] = np.argmin(norm_M - 2 * products, axis=1)
    difference_N = differences(left_NB, right_MB, np.arange(len(left_NB)), index_N)
    return difference_N, index_N
