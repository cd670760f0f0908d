"""Sets of pictures with labels: CIFAR, ImageNet and its shifts, and what else has classes.

Zero-shot accuracy, fine and coarse accuracy where classes have superclasses, geometry, nCLIP's scores and clusters;
with a train part linear probe, k-NN and the consistency score as well.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cyclip_model.evaluation import clusters, stored
from cyclip_model.evaluation.answers import Results, agreement, fine_and_coarse
from cyclip_model.evaluation.encode import Pictures
from cyclip_model.evaluation.encoder import Encoder
from cyclip_model.evaluation.protocols import ProtocolsConfig
from cyclip_model.evaluation.suite import Question
from cyclip_model.evaluation.suite_set import fill
from cyclip_model.metrics import baselines, consistency, geometry, probe, zeroshot
from cyclip_model.metrics.baselines import leaf, share
from cyclip_model.metrics.zeroshot import Floats, Ints, class_embeddings
from cyclip_model.sets.layout import TRAIN


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """A part of such a set under one model."""

    uids: list[str]
    truth: Ints
    """(N,) numbers of classes."""
    pictures: Pictures
    images: Floats
    """(N, D) float32, L2-normalised."""


def read(encoder: Encoder, folder: Path, part: str) -> Labelled:
    """One part of the set in folder."""
    made = stored.pictures(encoder, folder, part)
    return Labelled(
        uids=stored.columns(folder, part, "uid")["uid"].to_pylist(),
        truth=stored.labels(folder, part),
        pictures=made,
        images=encoder.compared(made.features, "image"),
    )


def prompts(described: Mapping[str, Any]) -> tuple[list[str], Ints]:
    """P lines, every class in every template, and (P,) the class of each."""
    templates, names = described["templates"], described["classnames"]
    return fill(templates, names), np.repeat(np.arange(len(names)), len(templates))


def later_namesakes(names: Sequence[str]) -> Ints:
    """(C,) how many classes after each have its very name, and so its embedding.

    ImageNet has two such pairs (missile, sunglasses). They tie, and a tie counts as ahead; but arg-max, by which the
    published figures are taken, says the first of them.
    """
    total, seen = Counter(names), Counter[str]()
    later = np.zeros(len(names), dtype=np.int64)
    for number, name in enumerate(names):
        seen[name] += 1
        later[number] = total[name] - seen[name]
    return later


def classifier(encoder: Encoder, described: Mapping[str, Any]) -> Floats:
    """(C, D) float32 the classes' text embeddings, L2-normalised."""
    lines, class_P = prompts(described)
    return class_embeddings(encoder.compared(encoder.texts(lines), "text"), class_P, len(described["classnames"]))


def run(encoder: Encoder, folder: Path, described: Mapping[str, Any], config: ProtocolsConfig) -> Results:
    """Every protocol that the set in folder has the parts for."""
    results, names, device = Results(), list(described["classnames"]), encoder.device
    test, class_CD = read(encoder, folder, stored.TEST), classifier(encoder, described)
    found = zeroshot.classify(test.images, class_CD, test.truth, device=device)
    rank_N = found.rank_N - later_namesakes(names)[test.truth]
    results.answer("zero_shot", _asked(test, "prompt", names), rank_N, found.predicted_N, config.zero_shot_k)
    if superclasses := described.get("superclasses"):
        of_C = np.array(superclasses["of"], dtype=np.int64)
        metrics = fine_and_coarse(test.images, class_CD, test.truth, of_C, config.hierarchy_k, device=device)
        results.add("hierarchy", stored.TEST, "prompt", metrics)
    _geometry(results, test, class_CD, device=device)
    if encoder.saved is not None:
        lines, class_P = prompts(described)
        texts = clusters.Prompts(encoder.texts(lines), class_P)
        clusters.score(results, _asked(test, "", names), test.pictures.features, texts, encoder.saved, device=device)
        clusters.gauge(results, stored.TEST, test.pictures.features, test.truth, encoder.saved)
    if stored.has_train(described):
        train = read(encoder, folder, TRAIN)
        _supervise(results, train, test, names, config, device=device)
        _agree(results, train, test, found.predicted_N, config, device=device)
    return results


def _asked(part: Labelled, variant: str, names: list[str]) -> Question:
    rows = np.arange(len(part.truth))
    return Question(part=stored.TEST, variant=variant, classes=names, uids=part.uids, rows=rows, truth=part.truth)


def _geometry(results: Results, test: Labelled, class_CD: Floats, *, device: str) -> None:
    alignment = geometry.label_alignment(test.images, class_CD, test.truth, device=device)
    num_rows = len(test.truth)
    metrics = {"alignment": leaf(alignment, num_rows)}
    if len(class_CD) > 1:  # of one class there is no other
        uniformity = geometry.label_uniformity(test.images, class_CD, test.truth, device=device)
        metrics["uniformity"] = leaf(uniformity, num_rows)
    metrics["modality_gap"] = leaf(geometry.modality_gap(test.images, class_CD[test.truth]), num_rows)
    results.add("geometry", stored.TEST, "names", metrics)


def _supervise(
    results: Results, train: Labelled, test: Labelled, names: list[str], config: ProtocolsConfig, *, device: str
) -> None:
    for variant, field in (("all", "features"), ("backbone", "backbone")):
        question = _asked(test, variant, names)
        train_MF, test_NF = getattr(train.pictures, field), getattr(test.pictures, field)
        weight_CF, bias_C = probe.fit(train_MF, train.truth, len(names), config.probe, device=device)
        with_one_NF, with_bias_CF = np.insert(test_NF, 0, 1, axis=1), np.insert(weight_CF, 0, bias_C, axis=1)
        found = zeroshot.classify(with_one_NF, with_bias_CF, test.truth, device=device)
        results.answer("linear_probe", question, found.rank_N, found.predicted_N, config.probe_k)
        unit_MF = train.images if variant == "all" else zeroshot.normalise(train_MF)
        unit_NF = test.images if variant == "all" else zeroshot.normalise(test_NF)
        near_NK = consistency.nearest(unit_NF, unit_MF, config.knn_k, device=device)
        voted_N = consistency.vote(train.truth[near_NK], config.knn_k)
        results.answer("knn", question, (voted_N != test.truth).astype(np.int64), voted_N, [1])


def _agree(
    results: Results, train: Labelled, test: Labelled, said_N: Ints, config: ProtocolsConfig, *, device: str
) -> None:
    near_NK = consistency.nearest(test.images, train.images, max(config.consistency_k), device=device)
    label_NK = train.truth[near_NK]
    metrics = {f"k_{k}": agreement(said_N, consistency.vote(label_NK, k)) for k in config.consistency_k}
    results.add("consistency", stored.TEST, "prompt", metrics)


def _places(described: Mapping[str, Any], shifted: Mapping[str, Any]) -> Ints:
    """(C,) which class of the parent set each of the shifted set's is, both numbered as parent_classes has them."""
    if shifted["parent_classes"] is None and shifted["classnames"] != described["classnames"]:
        raise ValueError(f"set {shifted['name']}: shift_of names {described['name']}, whose classes are others")
    own = described["parent_classes"] or range(len(described["classnames"]))
    place = {number: index for index, number in enumerate(own)}
    wanted = shifted["parent_classes"] or list(own)
    if missing := [number for number in wanted if number not in place]:
        raise ValueError(
            f"set {shifted['name']}: its parent {described['name']} has no class with number {missing[0]} "
            f"({len(missing)} such): leave shift_of out, or lay the whole parent down"
        )
    return np.array([place[number] for number in wanted], dtype=np.int64)


def shift(
    results: Results, parent: Encoder, folder: Path, described: Mapping[str, Any], shifted: Mapping[str, Any]
) -> None:
    """Files the zero-shot accuracy of the parent set, among the classes that the shifted set has, beside its own.

    What is left of it is robustness; how much of that is more than accuracy predicts, only several models tell
    (metrics.shift).

    Args:
        parent: of the same model on the parent set, which lies in folder as `described` says.
        shifted: description of the set whose results these are.
    """
    kept_C = _places(described, shifted)
    test, class_CD = read(parent, folder, stored.TEST), classifier(parent, described)[kept_C]
    number = {int(old): new for new, old in enumerate(kept_C)}
    rows = np.flatnonzero(np.isin(test.truth, kept_C))
    truth_N = np.array([number[int(label)] for label in test.truth[rows]], dtype=np.int64)
    found = zeroshot.classify(test.images[rows], class_CD, truth_N, device=parent.device)
    base = share(zeroshot.top_k(found.rank_N, 1), len(rows), 1 / len(kept_C), baselines.majority_top_k(truth_N, 1))
    own = results.metrics["zero_shot"][stored.TEST]["prompt"]["top_1"]
    results.add("shift", stored.TEST, described["name"], {"parent_top_1": base, "top_1": own})
