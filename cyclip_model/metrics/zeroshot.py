"""Zero-shot classification: cosines, ranks, top-k, balanced, fine and coarse accuracy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cyclip_model.metrics import blocks

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Classified:
    """What classification by the largest dot product says of every row."""

    rank_N: Ints
    """How many wrong classes score as high as the true one or higher, as in ranks."""
    predicted_N: Ints
    """The first class of the highest score."""


def classify(
    query_ND: Floats, class_CD: Floats, label_N: Ints, *, chunk_rows: int | None = None, device: str = "cpu"
) -> Classified:
    """Ranks and predictions of N queries among C classes by any dot product, never holding all N x C of them.

    Raises ValueError for a label that is no class.
    """
    check_labels(label_N, len(class_CD))
    rank_N, predicted_N = np.empty(len(query_ND), dtype=np.int64), np.empty(len(query_ND), dtype=np.int64)
    for rows, score_NC in blocks.products(query_ND, class_CD, chunk_rows=chunk_rows, device=device):
        label_N1 = torch.from_numpy(label_N[rows]).to(device)[:, None]
        rival_NC = score_NC >= score_NC.gather(1, label_N1) - TIE
        rival_NC.scatter_(1, label_N1, False)
        rank_N[rows] = blocks.counts(rival_NC)
        predicted_N[rows] = score_NC.argmax(1).cpu().numpy()
    return Classified(rank_N=rank_N, predicted_N=predicted_N)


def hierarchy(
    query_ND: Floats,
    class_CD: Floats,
    label_N: Ints,
    superclass_C: Ints,
    *,
    chunk_rows: int | None = None,
    device: str = "cpu",
) -> tuple[Ints, Ints]:
    """(N,) ranks within the true superclass and (N,) ranks of the true superclass, each scored by its best class.

    Raises ValueError for a label that is no class.
    """
    check_labels(label_N, len(class_CD))
    fine_N, coarse_N = np.empty(len(query_ND), dtype=np.int64), np.empty(len(query_ND), dtype=np.int64)
    num_superclasses = int(superclass_C.max()) + 1
    for rows, block in blocks.products(query_ND, class_CD, chunk_rows=chunk_rows, device=device):
        score_NC = block.cpu().numpy()
        fine_N[rows] = fine_ranks(score_NC, label_N[rows], superclass_C)
        score_NS = coarse_scores(score_NC, superclass_C, num_superclasses)
        coarse_N[rows] = ranks(score_NS, superclass_C[label_N[rows]])
    return fine_N, coarse_N


def check_labels(label_N: Ints, num_classes: int) -> None:
    """Raises ValueError for a label that is no class: a negative one would silently be counted from the end."""
    if len(label_N) and not 0 <= label_N.min() <= label_N.max() < num_classes:
        row = int(np.flatnonzero((label_N < 0) | (label_N >= num_classes))[0])
        raise ValueError(f"row {row} has label {label_N[row]}, but there are {num_classes} classes")
