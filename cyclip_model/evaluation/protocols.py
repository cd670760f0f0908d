"""The protocols: which metric is taken of which part of an encoded set, beside its chance and majority levels.

Results are filed as protocol -> part -> variant -> metric -> leaf (metrics.baselines.leaf).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cyclip_model.benchmarks import KNOWN, NOVEL, TRAIN
from cyclip_model.evaluation.suite import Encoded, Question, Space, ask
from cyclip_model.metrics import baselines, consistency, geometry, probe, retrieval, zeroshot
from cyclip_model.metrics.baselines import Leaf, leaf
from cyclip_model.metrics.zeroshot import Bools, Floats, Ints

Metrics = dict[str, Leaf]

PROTOCOLS = {"name": "naming", "category": "category", "subcategory": "subcategory"}
"""Zero-shot protocol by the field that holds the label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolsConfig:
    """Section evaluate.protocols."""

    naming_k: list[int]
    """k of top-k accuracy in naming."""
    class_k: list[int]
    """k of top-k accuracy among subcategories or categories."""
    recall_k: list[int]
    """k of recall at k."""
    consistency_k: list[int]
    """Numbers of nearest training pictures that vote in the consistency score."""
    knn_k: int
    """Number of nearest training pictures that vote in k-NN classification."""
    without_category: str | None
    """Category that every classification is repeated without; null for none."""
    probe: probe.ProbeConfig
    """Recipe of the linear probe."""

    def __post_init__(self) -> None:
        if min([*self.naming_k, *self.class_k, *self.recall_k, *self.consistency_k, self.knn_k], default=0) < 1:
            raise ValueError("every k must be at least 1")


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
        metrics = accuracies(rank_N, question.truth, len(question.classes), ks)
        self.add(protocol, question.part, question.variant, metrics)
        shared = {"protocol": protocol, "part": question.part, "variant": question.variant}
        columns = zip(question.uids, question.truth, score_NC.argmax(axis=1), rank_N.tolist(), strict=True)
        self.predictions += [
            {**shared, "uid": uid, "label": question.classes[label], "prediction": question.classes[said], "rank": rank}
            for uid, label, said, rank in columns
        ]


def accuracies(rank_N: Ints, label_N: Ints, num_classes: int, ks: Sequence[int]) -> Metrics:
    """Top-k accuracies (k capped at the number of classes) and balanced accuracy, each beside its baselines."""
    metrics = {}
    for k in sorted({min(k, num_classes) for k in ks}):
        chance, majority = baselines.chance_top_k(k, num_classes), baselines.majority_top_k(label_N, k)
        metrics[f"top_{k}"] = leaf(zeroshot.top_k(rank_N, k), len(label_N), chance, majority)
    balanced = zeroshot.balanced_accuracy(rank_N == 0, label_N)
    metrics["balanced_accuracy"] = leaf(balanced, len(label_N), 1 / num_classes, 1 / len(np.unique(label_N)))
    return metrics


def run(encoded: Encoded, config: ProtocolsConfig) -> Results:
    """Every protocol on every part it fits."""
    results = Results()
    for part in KNOWN:
        zero_shot(results, encoded, part, "name", config.naming_k)
        agree(results, encoded, part, "name", config.consistency_k)
        shape_by_name(results, encoded, part)
    for part in (*KNOWN, *NOVEL):
        zero_shot(results, encoded, part, "category", config.class_k)
        zero_shot(results, encoded, part, "subcategory", config.class_k)
        hierarchy(results, encoded, part)
        retrieve(results, encoded, part, config.recall_k)
        shape(results, encoded, part)
    for part in NOVEL:
        agree(results, encoded, part, "subcategory", config.consistency_k)
    for variant, classes in class_lists(encoded, config.without_category).items():
        supervise(results, encoded, variant, classes, config)
    return results


def zero_shot(results: Results, encoded: Encoded, part: str, label: str, ks: Sequence[int]) -> None:
    """Zero-shot classification of one part by every classifier of one field."""
    for variant, space in encoded.spaces[label].items():
        question = ask(encoded, part, label, space.classes, variant)
        results.classify(PROTOCOLS[label], question, _cosines(encoded, question, space), ks)


def _cosines(encoded: Encoded, question: Question, space: Space) -> Floats:
    return zeroshot.cosines(encoded.tests[question.part].images[question.rows], space.vectors)


def hierarchy(results: Results, encoded: Encoded, part: str) -> None:
    """CyCLIP's fine accuracy (within the true category) and coarse one (category of the best subcategory)."""
    names = sorted(set(encoded.categories.values()))
    for variant, space in encoded.spaces["subcategory"].items():
        question = ask(encoded, part, "subcategory", space.classes, variant)
        category_C = np.array([names.index(encoded.categories[name]) for name in space.classes], dtype=np.int64)
        score_NC = _cosines(encoded, question, space)
        fine_N = zeroshot.fine_ranks(score_NC, question.truth, category_C)
        fine = leaf(zeroshot.top_k(fine_N, 1), len(fine_N), baselines.chance_within(question.truth, category_C))
        score_NS, coarse_N = zeroshot.coarse_scores(score_NC, category_C, len(names)), category_C[question.truth]
        hit = zeroshot.top_k(zeroshot.ranks(score_NS, coarse_N), 1)
        coarse = leaf(hit, len(coarse_N), 1 / len(np.unique(category_C)), baselines.majority_top_k(coarse_N, 1))
        results.add("hierarchy", part, variant, {"fine_top_1": fine, "coarse_top_1": coarse})


def retrieve(results: Results, encoded: Encoded, part: str, ks: Sequence[int]) -> None:
    """Recall at k of one part's pictures and its distinct captions, both ways."""
    captions = set(encoded.tests[part].labels["caption"])
    texts = encoded.captions.restricted(captions.__contains__)
    question = ask(encoded, part, "caption", texts.classes, "captions")
    relevant_NT = retrieval.relevance(question.truth, len(captions))
    score_NT = _cosines(encoded, question, texts)
    results.add("retrieval", part, "image_to_text", recalls(score_NT, relevant_NT, ks))
    results.add("retrieval", part, "text_to_image", recalls(score_NT.T, relevant_NT.T, ks))


def recalls(score_QT: Floats, relevant_QT: Bools, ks: Sequence[int]) -> Metrics:
    """Recall at each k beside what a random order would reach."""
    rank_Q = retrieval.best_ranks(score_QT, relevant_QT)
    chance = {k: baselines.chance_recall(relevant_QT, k) for k in ks}
    return {f"recall_{k}": leaf(retrieval.recall(rank_Q, k), len(rank_Q), chance[k]) for k in ks}


def agree(results: Results, encoded: Encoded, part: str, label: str, ks: Sequence[int]) -> None:
    """CyCLIP's consistency score of one part: zero-shot label against the label of the nearest training pictures."""
    for variant, space in encoded.spaces[label].items():
        question = ask(encoded, part, label, space.classes, variant)
        said_N = _cosines(encoded, question, space).argmax(axis=1)
        near_NK = _near_labels(encoded, question, ask(encoded, TRAIN, label, space.classes, variant), max(ks))
        metrics = {f"k_{k}": agreement(said_N, consistency.vote(near_NK, k)) for k in ks}
        results.add("consistency", part, variant, metrics)


def agreement(said_N: Ints, voted_N: Ints) -> Leaf:
    """Agreement of two labellings beside that of independent ones with the same class frequencies."""
    return leaf(consistency.agreement(said_N, voted_N), len(said_N), baselines.chance_agreement(said_N, voted_N))


def _near_labels(encoded: Encoded, question: Question, train: Question, k: int) -> Ints:
    test_ND = encoded.tests[question.part].images[question.rows]
    return train.truth[consistency.nearest(test_ND, encoded.train.images[train.rows], k)]


def class_lists(encoded: Encoded, without: str | None) -> dict[str, list[str]]:
    """Variant -> subcategories: all of them, and those outside the category left out."""
    every = sorted(encoded.categories)
    if without is None:
        return {"all": every}
    return {"all": every, f"without_{without}": [name for name in every if encoded.categories[name] != without]}


def supervise(results: Results, encoded: Encoded, variant: str, classes: list[str], config: ProtocolsConfig) -> None:
    """Linear probe and k-NN, trained on the train part's subcategories, on every test part."""
    train = ask(encoded, TRAIN, "subcategory", classes, variant)
    layer = probe.fit(encoded.train.features[train.rows], train.truth, len(classes), config.probe)
    for part, test in encoded.tests.items():
        question = ask(encoded, part, "subcategory", classes, variant)
        results.classify("linear_probe", question, probe.logits(test.features[question.rows], *layer), [1])
        voted_N = consistency.vote(_near_labels(encoded, question, train, config.knn_k), config.knn_k)
        results.classify("knn", question, np.eye(len(classes))[voted_N], [1])


def shape(results: Results, encoded: Encoded, part: str) -> None:
    """Alignment, uniformity and gaps of one part's pairs."""
    question = ask(encoded, part, "caption", encoded.captions.classes, "pairs")
    image_ND, text_ND = encoded.tests[part].images, encoded.captions.vectors[question.truth]
    found = {
        "alignment": geometry.alignment(image_ND, text_ND),
        "uniformity_image": geometry.uniformity(image_ND, image_ND),
        "uniformity_text": geometry.uniformity(text_ND, text_ND),
        "uniformity_cross": geometry.uniformity(image_ND, text_ND),
        "modality_gap": geometry.modality_gap(image_ND, text_ND),
        "in_modal_gap": geometry.in_modal_gap(image_ND, text_ND),
        "cross_modal_gap": geometry.cross_modal_gap(image_ND, text_ND),
    }
    results.add("geometry", part, "pairs", {name: leaf(value, len(image_ND)) for name, value in found.items()})


def shape_by_name(results: Results, encoded: Encoded, part: str) -> None:
    """CyCLIP's alignment and uniformity, of one part's pictures and the classifier of names."""
    space = encoded.spaces["name"]["names"]
    question = ask(encoded, part, "name", space.classes, "names")
    shared = (encoded.tests[part].images[question.rows], space.vectors, question.truth)
    alignment, uniformity = geometry.label_alignment(*shared), geometry.label_uniformity(*shared)
    num_rows = len(question.truth)
    metrics = {"alignment": leaf(alignment, num_rows), "uniformity": leaf(uniformity, num_rows)}
    results.add("geometry", part, "names", metrics)
