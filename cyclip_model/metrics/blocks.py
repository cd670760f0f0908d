"""Blocks of a table of dot products, so that the whole of it never is in memory.

A block is float64 and lives on the device that made it. What fits into one block is one product, the very one that
zeroshot.cosines makes: small sets have the same bits as without blocks.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Rows = npt.NDArray[np.floating[Any]]

BLOCK_NUMBERS = 2**24
"""Most numbers in a block unless the caller says how many rows: 128 MiB."""


def rows_of(num_rows: int, num_columns: int, chunk_rows: int | None) -> Iterator[slice]:
    """Consecutive slices of the rows, chunk_rows each, or as many as make BLOCK_NUMBERS.

    Raises ValueError for a chunk of no rows.
    """
    if chunk_rows is not None and chunk_rows < 1:
        raise ValueError(f"chunk_rows is {chunk_rows}: it must be at least 1, or None")
    step = chunk_rows or max(1, BLOCK_NUMBERS // max(1, num_columns))
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def products(
    a_ND: Rows, b_MD: Rows, *, chunk_rows: int | None = None, device: str = "cpu"
) -> Iterator[tuple[slice, Tensor]]:
    """Slices of the N rows, each with its (n, M) float64 dot products on the device."""
    b_DM = on(b_MD, device).T
    for rows in rows_of(len(a_ND), len(b_MD), chunk_rows):
        yield rows, on(a_ND[rows], device) @ b_DM


def on(x_ND: Rows, device: str) -> Tensor:
    """The rows on the device, float64."""
    return torch.from_numpy(x_ND).to(device, torch.float64)


def counts(true_NM: Tensor) -> npt.NDArray[np.int64]:
    """(N,) how many are true in each row; NumPy counts bools ten times as fast as torch sums them."""
    return np.asarray(np.count_nonzero(true_NM.cpu().numpy(), axis=1), dtype=np.int64)
