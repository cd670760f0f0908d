"""CyCLIP's consistency score (arXiv 2205.14459): does the text space say what the image space says, right or wrong?"""

import numpy as np
import torch
from torch import Tensor

from cyclip_model.metrics import blocks
from cyclip_model.metrics.zeroshot import Floats, Ints

_TILE_ROWS = 2**16
"""Most training rows in a block, unless the caller says so."""


def nearest(
    image_ND: Floats,
    train_MD: Floats,
    k: int,
    *,
    chunk_rows: int | None = None,
    tile_rows: int = _TILE_ROWS,
    device: str = "cpu",
) -> Ints:
    """(N, K) indices of the k nearest training rows by cosine, nearest first; equal cosines in their order of rows.

    The table of cosines is made in blocks of chunk_rows by tile_rows.
    """
    num_train = len(train_MD)
    k = min(k, num_train)
    found_NK = np.empty((len(image_ND), k), dtype=np.int64)
    for rows in blocks.rows_of(len(image_ND), min(num_train, tile_rows), chunk_rows):
        image_nD, best = blocks.on(image_ND[rows], device), None
        for tile in blocks.rows_of(num_train, image_ND.shape[1], tile_rows):
            near = _largest(image_nD @ blocks.on(train_MD[tile], device).T, k)
            best = _merged(best, (near[0], near[1] + tile.start), k)
        if best is not None:
            found_NK[rows] = best[1].cpu().numpy()
    return found_NK


def _largest(score_NM: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(N, K) largest scores in descending order and their columns; equal ones in the order of columns."""
    k = min(k, score_NM.shape[1])
    value_NK, column_NK = score_NM.topk(k, dim=1)
    # topk takes any of equal scores: where more of them reach the last place than there are places, sort the row.
    tied_N = (score_NM >= value_NK[:, -1:]).sum(1) > k
    if tied_N.any():
        column_NK[tied_N] = score_NM[tied_N].sort(dim=1, descending=True, stable=True).indices[:, :k]
    column_NK = column_NK.sort(dim=1).values
    value_NK, order_NK = score_NM.gather(1, column_NK).sort(dim=1, descending=True, stable=True)
    return value_NK, column_NK.gather(1, order_NK)


def _merged(first: tuple[Tensor, Tensor] | None, second: tuple[Tensor, Tensor], k: int) -> tuple[Tensor, Tensor]:
    """The k largest of two such pairs, the first of earlier columns."""
    if first is None:
        return second
    value_NK, column_NK = (torch.cat(pair, dim=1) for pair in zip(first, second, strict=True))
    value_NK, order_NK = value_NK.sort(dim=1, descending=True, stable=True)
    return value_NK[:, :k], column_NK.gather(1, order_NK)[:, :k]


def vote(label_NK: Ints, k: int) -> Ints:
    """(N,) majority label of the k nearest (columns: nearest first); ties are broken by shrinking k."""
    found_N = np.empty(len(label_NK), dtype=np.int64)
    k = min(k, label_NK.shape[1])
    for rows in blocks.rows_of(len(label_NK), k * k, None):
        found_N[rows] = _modes(label_NK[rows, :k])
    return found_N


def _modes(label_NK: Ints) -> Ints:
    same_NKK = label_NK[:, :, None] == label_NK[:, None, :]
    found_N, open_N = np.empty(len(label_NK), dtype=np.int64), np.arange(len(label_NK))
    for k in range(label_NK.shape[1], 0, -1):
        num_NK = same_NKK[open_N, :k, :k].sum(axis=2)
        most_N = num_NK.max(axis=1)
        # A label that occurs n times has n places that count n: more places than that, and labels tie.
        unique_N = (num_NK == most_N[:, None]).sum(axis=1) == most_N
        found_N[open_N[unique_N]] = label_NK[open_N[unique_N], num_NK[unique_N].argmax(axis=1)]
        open_N = open_N[~unique_N]
    return found_N


def agreement(zero_shot_N: Ints, neighbour_N: Ints) -> float:
    """Share of rows whose zero-shot label equals the label voted by their training neighbours, correct or not."""
    return float((zero_shot_N == neighbour_N).mean())
