"""The suite's protocols: which metric is taken of which part of an encoded set, beside chance and majority levels.

Other kinds of sets have theirs in labelled, paired and sentences.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cyclip_model.evaluation import clusters
from cyclip_model.evaluation.answers import Found, Metrics, Results, agreement, fine_and_coarse
from cyclip_model.evaluation.suite import Encoded, Question, Space, ask
from cyclip_model.metrics import consistency, geometry, probe, retrieval, zeroshot
from cyclip_model.metrics.baselines import leaf
from cyclip_model.metrics.zeroshot import Floats, Ints
from cyclip_model.model.heads import Saved
from cyclip_model.sets.layout import KNOWN, NOVEL, TRAIN

PROTOCOLS = {"name": "naming", "category": "category", "subcategory": "subcategory"}
"""Zero-shot protocol by the field that holds the label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolsConfig:
    """Section evaluate.protocols."""

    naming_k: list[int]
    """k of top-k accuracy in naming."""
    zero_shot_k: list[int]
    """k of top-k accuracy among the classes of a labelled set."""
    hierarchy_k: list[int]
    """k of fine and coarse accuracy, where classes have superclasses."""
    probe_k: list[int]
    """k of top-k accuracy of the linear probe on a labelled set."""
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
        lists = (self.naming_k, self.zero_shot_k, self.hierarchy_k, self.probe_k, self.class_k, self.recall_k)
        if not all((*lists, self.consistency_k)) or min(itertools.chain(*lists, self.consistency_k, [self.knn_k])) < 1:
            raise ValueError("every list of k needs one, and every k must be at least 1")


def run(encoded: Encoded, config: ProtocolsConfig, saved: Saved | None) -> Results:
    """Every protocol on every part it fits.

    Args:
        saved: the model's cluster heads, where it has some.
    """
    results = Results()
    for part in KNOWN:
        zero_shot(results, encoded, part, "name", config.naming_k)
        agree(results, encoded, part, "name", config.consistency_k)
        shape_by_name(results, encoded, part)
    for part in (*KNOWN, *NOVEL):
        zero_shot(results, encoded, part, "category", config.class_k)
        zero_shot(results, encoded, part, "subcategory", config.class_k)
        hierarchy(results, encoded, part, config.hierarchy_k)
        retrieve(results, encoded, part, config.recall_k)
        shape(results, encoded, part)
    for part in NOVEL:
        agree(results, encoded, part, "subcategory", config.consistency_k)
    for variant, classes in class_lists(encoded, config.without_category).items():
        supervise(results, encoded, variant, classes, config)
    represent(results, encoded, sorted(encoded.categories), config)
    if saved is not None:
        look_into_clusters(results, encoded, saved)
    return results


def zero_shot(results: Results, encoded: Encoded, part: str, label: str, ks: Sequence[int]) -> None:
    """Zero-shot classification of one part by every classifier of one field."""
    for variant, space in encoded.spaces[label].items():
        question = ask(encoded, part, label, space.classes, variant)
        results.classify(PROTOCOLS[label], question, _cosines(encoded, question, space), ks)


def _cosines(encoded: Encoded, question: Question, space: Space) -> Floats:
    return zeroshot.cosines(encoded.tests[question.part].images[question.rows], space.vectors)


def hierarchy(results: Results, encoded: Encoded, part: str, ks: Sequence[int]) -> None:
    """CyCLIP's fine accuracy (within the true category) and coarse one (category of the best subcategory)."""
    names = sorted(set(encoded.categories.values()))
    for variant, space in encoded.spaces["subcategory"].items():
        question = ask(encoded, part, "subcategory", space.classes, variant)
        category_C = np.array([names.index(encoded.categories[name]) for name in space.classes], dtype=np.int64)
        image_ND = encoded.tests[part].images[question.rows]
        asked = (image_ND, space.vectors, question.truth, category_C)
        results.add("hierarchy", part, variant, fine_and_coarse(*asked, ks, device=encoded.device))


def retrieve(results: Results, encoded: Encoded, part: str, ks: Sequence[int]) -> None:
    """Recall at k of one part's pictures and its distinct captions, both ways."""
    captions = set(encoded.tests[part].labels["caption"])
    texts = encoded.captions.restricted(captions.__contains__)
    question = ask(encoded, part, "caption", texts.classes, "captions")
    results.recall(part, "image_to_text", pictures_find(encoded, question, texts), ks)
    results.recall(part, "text_to_image", captions_find(encoded, question, texts), ks)


def pictures_find(encoded: Encoded, question: Question, texts: Space) -> Found:
    """Every picture's own caption among the distinct ones."""
    image_ND, group_T = encoded.tests[question.part].images[question.rows], np.arange(len(texts.classes))
    return Found(
        uids=question.uids,
        labels=[""] * len(question.uids),
        ranks=retrieval.group_ranks(image_ND, texts.vectors, question.truth, group_T, device=encoded.device),
        num_relevant=np.ones(len(question.uids), dtype=np.int64),
        num_items=len(texts.classes),
    )


def captions_find(encoded: Encoded, question: Question, texts: Space) -> Found:
    """Every distinct caption's pictures among all; it is filed under the first of them."""
    image_ND, group_T = encoded.tests[question.part].images[question.rows], np.arange(len(texts.classes))
    first_T = np.unique(question.truth, return_index=True)[1]
    return Found(
        uids=[question.uids[row] for row in first_T],
        labels=texts.classes,
        ranks=retrieval.group_ranks(texts.vectors, image_ND, group_T, question.truth, device=encoded.device),
        num_relevant=np.bincount(question.truth, minlength=len(texts.classes)),
        num_items=len(question.uids),
    )


def agree(results: Results, encoded: Encoded, part: str, label: str, ks: Sequence[int]) -> None:
    """CyCLIP's consistency score of one part: zero-shot label against the label of the nearest training pictures."""
    for variant, space in encoded.spaces[label].items():
        question = ask(encoded, part, label, space.classes, variant)
        said_N = _cosines(encoded, question, space).argmax(axis=1)
        near_NK = _near_labels(encoded, question, ask(encoded, TRAIN, label, space.classes, variant), max(ks))
        metrics = {f"k_{k}": agreement(said_N, consistency.vote(near_NK, k)) for k in ks}
        results.add("consistency", part, variant, metrics)


def _near_labels(encoded: Encoded, question: Question, train: Question, k: int) -> Ints:
    test_ND = encoded.tests[question.part].images[question.rows]
    return train.truth[consistency.nearest(test_ND, encoded.train.images[train.rows], k, device=encoded.device)]


def class_lists(encoded: Encoded, without: str | None) -> dict[str, list[str]]:
    """Variant -> subcategories: all of them, and those outside the category left out."""
    every = sorted(encoded.categories)
    if without is None:
        return {"all": every}
    return {"all": every, f"without_{without}": [name for name in every if encoded.categories[name] != without]}


def supervise(results: Results, encoded: Encoded, variant: str, classes: list[str], config: ProtocolsConfig) -> None:
    """Linear probe and k-NN, trained on the train part's subcategories, on every test part."""
    train = ask(encoded, TRAIN, "subcategory", classes, variant)
    feature_MF = encoded.train.features[train.rows]
    layer = probe.fit(feature_MF, train.truth, len(classes), config.probe, device=encoded.device)
    for part, test in encoded.tests.items():
        question = ask(encoded, part, "subcategory", classes, variant)
        results.classify("linear_probe", question, probe.logits(test.features[question.rows], *layer), [1])
        voted_N = consistency.vote(_near_labels(encoded, question, train, config.knn_k), config.knn_k)
        results.classify("knn", question, np.eye(len(classes))[voted_N], [1])


def represent(results: Results, encoded: Encoded, classes: list[str], config: ProtocolsConfig) -> None:
    """Linear probe and k-NN on what the tower has before its projection: the field's rows of visual representation."""
    train = ask(encoded, TRAIN, "subcategory", classes, "backbone")
    backbone_MH = encoded.train.backbone[train.rows]
    layer = probe.fit(backbone_MH, train.truth, len(classes), config.probe, device=encoded.device)
    train_MH = zeroshot.normalise(backbone_MH)
    for part, test in encoded.tests.items():
        question = ask(encoded, part, "subcategory", classes, "backbone")
        test_NH = test.backbone[question.rows]
        results.classify("linear_probe", question, probe.logits(test_NH, *layer), [1])
        near_NK = consistency.nearest(zeroshot.normalise(test_NH), train_MH, config.knn_k, device=encoded.device)
        voted_N = consistency.vote(train.truth[near_NK], config.knn_k)
        results.classify("knn", question, np.eye(len(classes))[voted_N], [1])


def look_into_clusters(results: Results, encoded: Encoded, saved: Saved) -> None:
    """Naming of known parts by each of nCLIP's scores, and on every part how clusters go with subcategories."""
    prompts = clusters.Prompts(*encoded.names)
    for part in KNOWN:
        question = ask(encoded, part, "name", encoded.spaces["name"]["names"].classes, "")
        feature_NF = encoded.tests[part].features[question.rows]
        clusters.score(results, question, feature_NF, prompts, saved, device=encoded.device)
    for part, test in encoded.tests.items():
        question = ask(encoded, part, "subcategory", sorted(encoded.categories), "")
        clusters.gauge(results, part, test.features[question.rows], question.truth, saved)


def shape(results: Results, encoded: Encoded, part: str) -> None:
    """Alignment, uniformity and gaps of one part's pairs."""
    question = ask(encoded, part, "caption", encoded.captions.classes, "pairs")
    text_ND = encoded.captions.vectors[question.truth]
    results.add("geometry", part, "pairs", pair_geometry(encoded.tests[part].images, text_ND, encoded.device))


def pair_geometry(image_ND: Floats, text_ND: Floats, device: str) -> Metrics:
    """Alignment, uniformity and gaps of N pairs of unit rows."""
    found = {"alignment": geometry.alignment(image_ND, text_ND)}
    if len(image_ND) > 1:  # of one pair there is no other
        found |= {
            "uniformity_image": geometry.uniformity(image_ND, image_ND, device=device),
            "uniformity_text": geometry.uniformity(text_ND, text_ND, device=device),
            "uniformity_cross": geometry.uniformity(image_ND, text_ND, device=device),
        }
    found |= {
        "modality_gap": geometry.modality_gap(image_ND, text_ND),
        "in_modal_gap": geometry.in_modal_gap(image_ND, text_ND, device=device),
        "cross_modal_gap": geometry.cross_modal_gap(image_ND, text_ND, device=device),
    }
    return {name: leaf(value, len(image_ND)) for name, value in found.items()}


def shape_by_name(results: Results, encoded: Encoded, part: str) -> None:
    """CyCLIP's alignment and uniformity, of one part's pictures and the classifier of names."""
    space = encoded.spaces["name"]["names"]
    question = ask(encoded, part, "name", space.classes, "names")
    shared = (encoded.tests[part].images[question.rows], space.vectors, question.truth)
    gauges = {"alignment": geometry.label_alignment, "uniformity": geometry.label_uniformity}
    found = {name: gauge(*shared, device=encoded.device) for name, gauge in gauges.items()}
    metrics = {name: leaf(value, len(question.truth)) for name, value in found.items()}
    results.add("geometry", part, "names", metrics)
