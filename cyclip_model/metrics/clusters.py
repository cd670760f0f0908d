"""Gauges of nCLIP's clusters (arXiv 2210.09304): how many are in use, how evenly, and what labels they carry."""

from collections.abc import Iterator

import numpy as np

from cyclip_model.metrics import blocks
from cyclip_model.metrics.zeroshot import Floats, Ints


def gauges(
    probability_NK: Floats, label_N: Ints | None = None, *, chunk_rows: int | None = None
) -> dict[str, float | None]:
    """active_clusters, smoothness and nmi of N distributions over K clusters.

    active_clusters: how many are the (first) arg-max of a row. smoothness: H(mean of the rows) / log K, 0 where one
    cluster takes all, 1 where all are alike on average. nmi: of arg-max clusters and labels; None without labels.
    Raises ValueError without rows, for fewer than two clusters, and for rows that are no distributions.
    """
    num_rows, num_clusters = probability_NK.shape
    if num_rows < 1 or num_clusters < 2:
        raise ValueError(f"{num_rows} rows over {num_clusters} clusters: there must be a row, and two clusters")
    mean_K, cluster_N = np.zeros(num_clusters), np.empty(num_rows, dtype=np.int64)
    for rows, block_NK in _chunks(probability_NK, chunk_rows):
        mean_K += block_NK.sum(axis=0) / num_rows
        cluster_N[rows] = block_NK.argmax(axis=1)
    smoothness = _entropy(mean_K / mean_K.sum()) / float(np.log(num_clusters))
    nmi = None if label_N is None else normalised_mutual_information(cluster_N, label_N)
    return {"active_clusters": len(np.unique(cluster_N)), "smoothness": smoothness, "nmi": nmi}


def _chunks(probability_NK: Floats, chunk_rows: int | None) -> Iterator[tuple[slice, Floats]]:
    for rows in blocks.rows_of(len(probability_NK), probability_NK.shape[1], chunk_rows):
        block_NK = probability_NK[rows].astype(np.float64)
        sum_N = block_NK.sum(axis=1)
        if not (np.abs(sum_N - 1) < 1e-3).all() or (block_NK < 0).any():
            bad = rows.start + int(np.argmax(~(np.abs(sum_N - 1) < 1e-3) | (block_NK < 0).any(axis=1)))
            raise ValueError(f"row {bad} is no distribution over clusters: take the softmax of the head first")
        yield rows, block_NK


def normalised_mutual_information(a_N: Ints, b_N: Ints) -> float:
    """Mutual information of two labellings over the mean of their entropies, 0 to 1.

    1 where both have a single class (they are the same partition), 0 where just one of them has.
    """
    _, a_N = np.unique(a_N, return_inverse=True)
    _, b_N = np.unique(b_N, return_inverse=True)
    num_b = int(b_N.max()) + 1
    _, joint = np.unique(a_N * num_b + b_N, return_counts=True)
    entropy_a, entropy_b = (_entropy(np.bincount(x_N) / len(x_N)) for x_N in (a_N, b_N))
    if entropy_a == entropy_b == 0:
        return 1.0
    shared = entropy_a + entropy_b - _entropy(joint / len(a_N))
    return float(np.clip(2 * shared / (entropy_a + entropy_b), 0, 1))


def _entropy(share_C: Floats) -> float:
    present = share_C[share_C > 0]
    return float(abs((present * np.log(present)).sum()))
