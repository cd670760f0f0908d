"""What a result must beat: chance and majority levels, and the leaf that carries them beside every number."""

from math import comb

import numpy as np

from cyclip_model.metrics.zeroshot import Ints

DIGITS = 6

Leaf = dict[str, float | int | None]


def leaf(
    value: float,
    n: int,
    chance: float | None = None,
    majority: float | None = None,
    *,
    standard_error: float | None = None,
) -> Leaf:
    """One metric as written to metrics.json, every number rounded; None where one is meaningless or unknown.

    Value, number of rows, chance and majority levels, and the value's standard error from these rows alone.
    """
    levels = {"value": value, "chance": chance, "majority": majority, "standard_error": standard_error}
    return {"n": n, **{key: None if level is None else round(float(level), DIGITS) for key, level in levels.items()}}


def share(value: float, n: int, chance: float | None = None, majority: float | None = None) -> Leaf:
    """A leaf whose value is a share of n independent rows, with the binomial standard error sqrt(p (1 - p) / n)."""
    error = (value * (1 - value) / n) ** 0.5 if n else None
    return leaf(value, n, chance, majority, standard_error=error)


def chance_top_k(k: int, num_classes: int) -> float:
    """Top-k accuracy of k different classes drawn at random."""
    return min(k, num_classes) / num_classes


def majority_top_k(label_N: Ints, k: int) -> float:
    """Top-k accuracy of always answering the k most frequent classes of these very rows: the best a constant can do."""
    return float(np.sort(np.bincount(label_N))[::-1][:k].sum() / len(label_N))


def chance_recall(num_relevant_Q: Ints, num_items: int, k: int) -> float:
    """Expected recall at k of a random order: mean of 1 - C(T-m, k) / C(T, k) for m relevant items of T."""
    k = min(k, num_items)
    num_relevant, num_queries = np.unique(num_relevant_Q, return_counts=True)
    hit = [1 - comb(num_items - int(m), k) / comb(num_items, k) for m in num_relevant]
    return float(np.average(hit, weights=num_queries))


def chance_agreement(a_N: Ints, b_N: Ints) -> float:
    """Expected agreement of two labellings that keep their class frequencies but are otherwise independent."""
    num_classes = int(max(a_N.max(), b_N.max())) + 1
    share_a_C = np.bincount(a_N, minlength=num_classes) / len(a_N)
    share_b_C = np.bincount(b_N, minlength=num_classes) / len(b_N)
    return float((share_a_C * share_b_C).sum())


def chance_within(label_N: Ints, superclass_C: Ints, k: int = 1) -> float:
    """Expected top-k accuracy of k different random classes of the true superclass."""
    return float(np.mean(np.minimum(k / np.bincount(superclass_C)[superclass_C[label_N]], 1)))
