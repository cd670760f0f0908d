"""CyCLIP's consistency score (arXiv 2205.14459): does the text space say what the image space says, right or wrong?"""

import numpy as np

from cyclip_model.metrics.zeroshot import Floats, Ints, cosines


def nearest(image_ND: Floats, train_MD: Floats, k: int) -> Ints:
    """(N, K) indices of the k nearest training rows by cosine, nearest first; equal cosines in their order of rows."""
    k = min(k, len(train_MD))
    score_NM = cosines(image_ND, train_MD)
    last_N = np.partition(score_NM, -k, axis=1)[:, -k]
    return np.array(
        [_nearest_of_row(score_M, last, k) for score_M, last in zip(score_NM, last_N, strict=True)], dtype=np.int64
    )


def _nearest_of_row(score_M: Floats, last: float, k: int) -> Ints:
    near = np.flatnonzero(score_M >= last)
    return near[np.argsort(-score_M[near], kind="stable")][:k]


def vote(label_NK: Ints, k: int) -> Ints:
    """(N,) majority label of the k nearest (columns: nearest first); ties are broken by shrinking k."""
    return np.array([_mode(label_K[:k]) for label_K in label_NK], dtype=np.int64)


def _mode(label_K: Ints) -> int:
    label, count = np.unique(label_K, return_counts=True)
    winners = label[count == count.max()]
    return int(winners[0]) if len(winners) == 1 else _mode(label_K[:-1])


def agreement(zero_shot_N: Ints, neighbour_N: Ints) -> float:
    """Share of rows whose zero-shot label equals the label voted by their training neighbours, correct or not."""
    return float((zero_shot_N == neighbour_N).mean())
