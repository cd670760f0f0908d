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


def relevance(image_caption_N: Ints, num_texts: int) -> Bools:
    """(N, T) which text belongs to which image, given each image's text index; several images may share a text."""
    relevant_NT: Bools = image_caption_N[:, None] == np.arange(num_texts)[None, :]
    return relevant_NT


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
    rank_Q, item_group_1T = np.empty(len(query_QD), dtype=np.int64), torch.from_numpy(item_group_T).to(device)[None]
    for rows, score_QT in blocks.products(query_QD, item_TD, chunk_rows=chunk_rows, device=device):
        relevant_QT = torch.from_numpy(query_group_Q[rows]).to(device)[:, None] == item_group_1T
        best_Q1 = score_QT.masked_fill(~relevant_QT, -torch.inf).amax(1, keepdim=True)
        rank_Q[rows] = ((score_QT >= best_Q1 - TIE) & ~relevant_QT).sum(1).cpu().numpy()
    return rank_Q


def num_relevant(query_group_Q: Ints, item_group_T: Ints) -> Ints:
    """(Q,) how many items each query's group has."""
    group_G, num_G = np.unique(item_group_T, return_counts=True)
    place_Q = np.minimum(np.searchsorted(group_G, query_group_Q), len(group_G) - 1)
    return np.where(group_G[place_Q] == query_group_Q, num_G[place_Q], 0).astype(np.int64)


def check_relevant(query_group_Q: Ints, item_group_T: Ints) -> None:
    """Raises ValueError for a query without a relevant item."""
    missing_Q = ~np.isin(query_group_Q, item_group_T)
    if missing_Q.any():
        row = int(np.argmax(missing_Q))
        raise ValueError(f"query {row} has no relevant item: no item is of its group {query_group_Q[row]}")
