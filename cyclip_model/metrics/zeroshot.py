"""Zero-shot classification: cosines, ranks, top-k, balanced, fine and coarse accuracy."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TIE = 1e-6
"""Cosines closer than this are one value: float32 towers cannot tell them apart. A rival that ties counts as ahead."""


def normalise(x_ND: Floats) -> Floats:
    """(N, D) float32 rows of length 1; a zero row stays zero, NaN or infinity raises ValueError."""
    if not np.isfinite(x_ND).all():
        raise ValueError(
            "embeddings hold NaN or infinity: the model has diverged, train it again with a smaller learning rate"
        )
    length_N1 = np.linalg.norm(x_ND.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(x_ND / np.maximum(length_N1, 1e-12), dtype=np.float32)


def cosines(a_ND: Floats, b_MD: Floats) -> Floats:
    """(N, M) float64 dot products of L2-normalised rows."""
    # torch's product, not numpy's: its thread count is a parameter of the stage, BLAS's comes from the environment.
    product_NM = torch.from_numpy(a_ND.astype(np.float64)) @ torch.from_numpy(b_MD.astype(np.float64)).T
    return product_NM.numpy()


def class_embeddings(prompt_PD: Floats, class_P: Ints, num_classes: int) -> Floats:
    """(C, D) L2-normalised class embeddings: each prompt normalised, the mean of a class taken, normalised again.

    Raises ValueError when a class has no prompt.
    """
    num_C = np.bincount(class_P, minlength=num_classes)
    if not num_C.all():
        raise ValueError(f"class {int(np.argmin(num_C))} has no prompt")
    sum_CD = np.zeros((num_classes, prompt_PD.shape[1]))
    np.add.at(sum_CD, class_P, normalise(prompt_PD))
    return normalise(sum_CD / num_C[:, None])


def ranks(score_NC: Floats, label_N: Ints) -> Ints:
    """(N,) how many wrong classes score as high as the true one or higher: 0 is a hit, a tie is none."""
    row_N = np.arange(len(label_N))
    rival_NC = score_NC >= (score_NC[row_N, label_N] - TIE)[:, None]
    rival_NC[row_N, label_N] = False
    return np.asarray(rival_NC.sum(axis=1), dtype=np.int64)


def top_k(rank_N: Ints, k: int) -> float:
    """Share of rows whose truth is among the first k; with fewer than k classes every row is a hit, so cap k first."""
    return float((rank_N < k).mean())


def balanced_accuracy(correct_N: Bools, label_N: Ints) -> float:
    """Mean over the classes that occur of the share of their rows that is correct."""
    num_C = np.bincount(label_N)
    hits_C = np.bincount(label_N, weights=correct_N.astype(np.float64))
    present_C = num_C > 0
    return float((hits_C[present_C] / num_C[present_C]).mean())


def fine_ranks(score_NC: Floats, label_N: Ints, superclass_C: Ints) -> Ints:
    """(N,) ranks of the truth among the classes of its own superclass only."""
    own_NC = superclass_C[None, :] == superclass_C[label_N][:, None]
    return ranks(np.where(own_NC, score_NC, -np.inf), label_N)


def coarse_scores(score_NC: Floats, superclass_C: Ints, num_superclasses: int) -> Floats:
    """(N, S) the highest score among the classes of each superclass; -inf for a superclass without classes."""
    score_NS = np.full((len(score_NC), num_superclasses), -np.inf)
    for superclass in np.unique(superclass_C):
        score_NS[:, superclass] = score_NC[:, superclass_C == superclass].max(axis=1)
    return score_NS


class Classified(NamedTuple):
    """Ranks of the truth and answers, of N rows."""

    rank_N: Ints
    predicted_N: Ints


def classify(query_ND: Floats, class_CD: Floats, label_N: Ints, *, chunk_rows: int = 4096) -> Classified:
    """Ranks and first arg-max of dot products, a chunk of rows at a time."""
    ranks_, said = [], []
    for start in range(0, len(query_ND), chunk_rows):
        score_NC = cosines(query_ND[start : start + chunk_rows], class_CD)
        ranks_.append(ranks(score_NC, label_N[start : start + chunk_rows]))
        said.append(score_NC.argmax(axis=1))
    return Classified(np.concatenate(ranks_), np.concatenate(said).astype(np.int64))


def hierarchy(
    query_ND: Floats, class_CD: Floats, label_N: Ints, superclass_C: Ints, *, chunk_rows: int = 4096
) -> tuple[Ints, Ints]:
    """(N,) fine and (N,) coarse ranks."""
    fine, coarse = [], []
    for start in range(0, len(query_ND), chunk_rows):
        score_NC, label = cosines(query_ND[start : start + chunk_rows], class_CD), label_N[start : start + chunk_rows]
        fine.append(fine_ranks(score_NC, label, superclass_C))
        score_NS = coarse_scores(score_NC, superclass_C, int(superclass_C.max()) + 1)
        coarse.append(ranks(score_NS, superclass_C[label]))
    return np.concatenate(fine), np.concatenate(coarse)
