"""Retrieval: ranks and recall at k, for one caption an image or five, one image a caption or many."""

import numpy as np

from cyclip_model.metrics.zeroshot import TIE, Bools, Floats, Ints, cosines


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
    query_QD: Floats, item_TD: Floats, query_group_Q: Ints, item_group_T: Ints, *, chunk_rows: int = 2048
) -> Ints:
    """(Q,) as `best_ranks`, an item being relevant where the groups are equal; a chunk of queries at a time."""
    chunks = []
    for start in range(0, len(query_QD), chunk_rows):
        score_QT = cosines(query_QD[start : start + chunk_rows], item_TD)
        relevant_QT = query_group_Q[start : start + chunk_rows, None] == item_group_T[None, :]
        chunks.append(best_ranks(score_QT, relevant_QT))
    return np.concatenate(chunks)
