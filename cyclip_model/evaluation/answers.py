"""What protocols found on one set: metrics beside their levels, and the single answers that they follow from.

Metrics are filed as protocol -> part -> variant -> metric -> leaf (metrics.baselines.leaf).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cyclip_model.evaluation.suite import Question
from cyclip_model.metrics import baselines, consistency, retrieval, zeroshot
from cyclip_model.metrics.baselines import Leaf, share
from cyclip_model.metrics.zeroshot import Floats, Ints

Metrics = dict[str, Leaf]


@dataclass(kw_only=True, slots=True)
class Results:
    """What the protocols have found so far."""

    metrics: dict[str, dict[str, dict[str, Metrics]]] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)

    def add(self, protocol: str, part: str, variant: str, metrics: Metrics) -> None:
        """Files the metrics of one protocol on one part."""
        self.metrics.setdefault(protocol, {}).setdefault(part, {})[variant] = metrics

    def classify(self, protocol: str, question: Question, score_NC: Floats, ks: Sequence[int]) -> None:
        """Files accuracies, and of every picture what was said and at which rank the truth stood."""
        rank_N = zeroshot.ranks(score_NC, question.truth)
        self.answer(protocol, question, rank_N, np.asarray(score_NC.argmax(axis=1), dtype=np.int64), ks)

    def answer(self, protocol: str, question: Question, rank_N: Ints, said_N: Ints, ks: Sequence[int]) -> None:
        """As `classify`, of ranks and answers already taken from the scores."""
        metrics = accuracies(rank_N, question.truth, len(question.classes), ks)
        self.add(protocol, question.part, question.variant, metrics)
        shared = {"protocol": protocol, "part": question.part, "variant": question.variant}
        columns = zip(question.uids, question.truth, said_N, rank_N.tolist(), strict=True)
        self.predictions += [
            {**shared, "uid": uid, "label": question.classes[label], "prediction": question.classes[said], "rank": rank}
            for uid, label, said, rank in columns
        ]

    def recall(self, part: str, variant: str, found: "Found", ks: Sequence[int]) -> None:
        """Files recall at each k beside what a random order would reach, and the rank of every query's best truth."""
        self.add("retrieval", part, variant, recalls(found, ks))
        shared = {"protocol": "retrieval", "part": part, "variant": variant, "prediction": ""}
        rows = zip(found.uids, found.labels, found.ranks.tolist(), strict=True)
        self.predictions += [{**shared, "uid": uid, "label": label, "rank": rank} for uid, label, rank in rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One direction of a retrieval: Q queries in T items."""

    uids: list[str]
    """Of the picture that each query is, or belongs to."""
    labels: list[str]
    """The caption that each query is; empty for a picture."""
    ranks: Ints
    """(Q,) of the best relevant item."""
    num_relevant: Ints
    """(Q,) relevant items of each query."""
    num_items: int


def accuracies(rank_N: Ints, label_N: Ints, num_classes: int, ks: Sequence[int]) -> Metrics:
    """Top-k accuracies (k capped at the number of classes) and balanced accuracy, each beside its baselines."""
    metrics = {}
    for k in sorted({min(k, num_classes) for k in ks}):
        chance, majority = baselines.chance_top_k(k, num_classes), baselines.majority_top_k(label_N, k)
        metrics[f"top_{k}"] = share(zeroshot.top_k(rank_N, k), len(label_N), chance, majority)
    balanced = zeroshot.balanced_accuracy(rank_N == 0, label_N)
    levels = 1 / num_classes, 1 / len(np.unique(label_N))
    metrics["balanced_accuracy"] = baselines.leaf(balanced, len(label_N), *levels)
    return metrics


def recalls(found: Found, ks: Sequence[int]) -> Metrics:
    """Recall at each k beside what a random order would reach."""
    num_queries = len(found.ranks)
    chance = {k: baselines.chance_recall(found.num_relevant, found.num_items, k) for k in ks}
    return {f"recall_{k}": share(retrieval.recall(found.ranks, k), num_queries, chance[k]) for k in ks}


def agreement(said_N: Ints, voted_N: Ints) -> Leaf:
    """Agreement of two labellings beside that of independent ones with the same class frequencies."""
    return share(consistency.agreement(said_N, voted_N), len(said_N), baselines.chance_agreement(said_N, voted_N))


def fine_and_coarse(
    image_ND: Floats, class_CD: Floats, label_N: Ints, superclass_C: Ints, ks: Sequence[int], *, device: str
) -> Metrics:
    """CyCLIP's top-k accuracy among the classes of the true superclass, and of the superclass of the best class.

    k of the coarse one is capped at the number of superclasses.
    """
    fine_N, coarse_N = zeroshot.hierarchy(image_ND, class_CD, label_N, superclass_C, device=device)
    truth_N, num_superclasses = superclass_C[label_N], len(np.unique(superclass_C))
    metrics = {}
    for k in sorted(set(ks)):
        chance = baselines.chance_within(label_N, superclass_C, k)
        metrics[f"fine_top_{k}"] = share(zeroshot.top_k(fine_N, k), len(fine_N), chance)
    for k in sorted({min(k, num_superclasses) for k in ks}):
        levels = baselines.chance_top_k(k, num_superclasses), baselines.majority_top_k(truth_N, k)
        metrics[f"coarse_top_{k}"] = share(zeroshot.top_k(coarse_N, k), len(coarse_N), *levels)
    return metrics
