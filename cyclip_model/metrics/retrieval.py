"""Retrieval: ranks and recall at k, for one caption an image or five, one image a caption or many."""

import numpy as np
import torch

from cyclip_model.metrics import blocks
from cyclip_model.metrics.zeroshot import TIE, Bools, Floats, Ints


def best_ranks(score_QT: Floats, relevant_QT: Bools) -> Ints:
    """(Q,) how many irrelevant items score as high as the best relevant one or higher; ties count against the truth.

    Raises ValueError for a query without a relevant item: it could only ever be missed, or, worse, be counted as found.
    """
    if not relevant_QT.any(axis=1).all():
        raise ValueError(f"query {int(np.argmin(relevant_QT.any(axis=1)))} has no relevant item")
    best_Q1 = np.where(relevant_QT, score_QT, -np.inf).max(axis=1, keepdims=True)
    ahead_QT = (score_QT >= best_Q1 - TIE) & ~relevant_QT
    return np.asarray(ahead_QT.sum(axis=1), dtype=np.int64)


def recall(rank_Q: Ints, k: int) -> float:
    """Share of queries with a relevant item among the first k."""
    return float((rank_Q < k).mean())


def group_ranks(
    query_QD: Floats,
    item_TD: Floats,
    query_group_Q: Ints,
    item_group_T: Ints,
    *,
    chunk_rows: int | None = None,
    device: str = "cpu",
) -> Ints:
    """(Q,) best_ranks of queries whose relevant items are those of their own group, never holding all Q x T scores.

    Five captions of one picture, or many pictures of one caption, are one group. The score is any dot product.
    Raises ValueError for a query without a relevant item.
    """
    check_relevant(query_group_Q, item_group_T)
    order_T = np.argsort(item_group_T, kind="stable")
    first_Q, last_Q = (np.searchsorted(item_group_T[order_T], query_group_Q, side) for side in ("left", "right"))
    num_Q, rank_Q = last_Q - first_Q, np.empty(len(query_QD), dtype=np.int64)
    for rows, score_QT in blocks.products(query_QD, item_TD, chunk_rows=chunk_rows, device=device):
        # the few relevant pairs one by one: a mask of all pairs would cost more than their product
        query_R = np.repeat(np.arange(rows.stop - rows.start), num_Q[rows])
        place_R = np.repeat(last_Q[rows] - np.cumsum(num_Q[rows]), num_Q[rows]) + np.arange(len(query_R))
        pair_2R = tuple(torch.from_numpy(each_R).to(device) for each_R in (query_R, order_T[place_R]))
        best_Q = score_QT.new_full((len(score_QT),), -torch.inf)
        best_Q.scatter_reduce_(0, pair_2R[0], score_QT[pair_2R], "amax")
        score_QT[pair_2R] = -torch.inf
        rank_Q[rows] = blocks.counts(score_QT >= best_Q[:, None] - TIE)
    return rank_Q


def check_relevant(query_group_Q: Ints, item_group_T: Ints) -> None:
    """Raises ValueError for a query without a relevant item."""
    missing_Q = ~np.isin(query_group_Q, item_group_T)
    if missing_Q.any():
        row = int(np.argmax(missing_Q))
        raise ValueError(f"query {row} has no relevant item: no item is of its group {query_group_Q[row]}")
