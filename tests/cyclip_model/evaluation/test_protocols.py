"""The protocols on a made-up set in the plane, where every cosine can be read off."""

import dataclasses

import numpy as np
import pytest
import torch

from cyclip_model.evaluation import protocols
from cyclip_model.evaluation.answers import Results, accuracies
from cyclip_model.evaluation.protocols import class_lists
from cyclip_model.evaluation.suite import Encoded, Part, Space, ask
from cyclip_model.metrics.zeroshot import normalise
from cyclip_model.sets.layout import KNOWN, NOVEL
from tests.cyclip_model.small_set import PROTOCOLS

CATEGORIES = {"bird": "animals", "cat": "animals", "country-flag": "flags"}
EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def part(names: list[str], vectors: list[list[float]], **labels: list[str]) -> Part:
    subcategories = labels.get("subcategory", ["bird", "cat", "country-flag"][: len(names)])
    categories = [CATEGORIES.get(name, "") for name in subcategories]
    fields = {"name": names, "caption": names, "subcategory": subcategories, "category": categories}
    array = np.array(vectors)
    return Part(
        uids=[str(n) for n in range(len(names))], labels=fields, features=array, backbone=array, images=normalise(array)
    )


def encoded(tests: Part) -> Encoded:
    train = part(["wren", "lion", "flag: Chad"], [EAST, NORTH, WEST])
    space = Space(classes=["bird", "cat", "country-flag"], vectors=normalise(np.array([EAST, NORTH, WEST])))
    coarse = Space(classes=["animals", "flags"], vectors=normalise(np.array([[1.0, 1.0], WEST])))
    names = sorted(set(tests.labels["name"]) | {"wren", "lion", "flag: Chad"})
    angles = {"wren": EAST, "lion": NORTH, "flag: Chad": WEST}
    texts = Space(classes=names, vectors=normalise(np.array([angles.get(name, [1.0, -1.0]) for name in names])))
    return Encoded(
        train=train,
        tests=dict.fromkeys((*KNOWN, *NOVEL), tests),
        spaces={"name": {"names": texts}, "subcategory": {"members": space}, "category": {"members": coarse}},
        categories=CATEGORIES,
        captions=texts,
        names=(texts.vectors, np.arange(len(texts.classes))),
        device="cpu",
    )


PERFECT = encoded(part(["wren", "lion", "flag: Chad"], [[2.0, 0.1], [0.1, 3.0], [-1.0, 0.2]]))


def test_a_perfect_space_is_perfect_everywhere() -> None:
    results = protocols.run(PERFECT, PROTOCOLS, None)
    for protocol, metric in (("naming", "top_1"), ("category", "top_1"), ("subcategory", "balanced_accuracy")):
        for variants in results.metrics[protocol].values():
            assert all(metrics[metric]["value"] == 1.0 for metrics in variants.values()), protocol
    assert results.metrics["retrieval"]["novel"]["text_to_image"]["recall_1"]["value"] == 1.0
    assert results.metrics["consistency"]["novel"]["members"]["k_1"]["value"] == 1.0
    assert results.metrics["knn"]["novel"]["without_flags"]["top_1"] == {
        "n": 2,
        "value": 1.0,
        "chance": 0.5,
        "majority": 0.5,
        "standard_error": 0.0,
    }


def test_every_metric_carries_its_rows_and_levels() -> None:
    results = protocols.run(PERFECT, PROTOCOLS, None)
    leaves = [
        (protocol, leaf)
        for protocol, parts in results.metrics.items()
        for variants in parts.values()
        for metrics in variants.values()
        for leaf in metrics.values()
    ]
    assert all(set(leaf) == {"n", "value", "chance", "majority", "standard_error"} for _, leaf in leaves)
    assert all(leaf["chance"] is not None for protocol, leaf in leaves if protocol != "geometry")


def test_fine_is_asked_within_the_category_and_coarse_across_them() -> None:
    results = Results()
    west_bird = part(["wren"], [[-1.0, -0.1]])
    protocols.hierarchy(results, encoded(west_bird), "novel", [1])
    metrics = results.metrics["hierarchy"]["novel"]["members"]
    assert metrics["fine_top_1"]["value"] == 0.0, "of bird and cat, cat is nearer"
    assert metrics["coarse_top_1"]["value"] == 0.0, "a flag is nearer than either"
    assert metrics["fine_top_1"]["chance"] == 0.5
    west_cat = part(["lion"], [[-1.0, -0.1]], subcategory=["cat"])
    protocols.hierarchy(results, encoded(west_cat), "novel", [1])
    assert results.metrics["hierarchy"]["novel"]["members"]["fine_top_1"]["value"] == 1.0


def test_retrieval_asks_each_caption_once_and_both_of_its_pictures_count() -> None:
    results = Results()
    two_wrens = part(["wren", "wren", "lion"], [NORTH, EAST, [0.1, 1.0]], subcategory=["bird", "bird", "cat"])
    protocols.retrieve(results, encoded(two_wrens), "novel", [1])
    found = results.metrics["retrieval"]["novel"]
    assert (found["text_to_image"]["recall_1"]["n"], found["image_to_text"]["recall_1"]["n"]) == (2, 3)
    assert found["image_to_text"]["recall_1"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert found["text_to_image"]["recall_1"]["value"] == 0.5, "wren finds one of its two; lion finds a wren first"
    assert found["text_to_image"]["recall_1"]["chance"] == 0.5, "(2/3 + 1/3) / 2"


def test_alignment_by_name_is_a_mean_cosine() -> None:
    results = Results()
    protocols.shape_by_name(results, encoded(part(["wren", "lion"], [EAST, EAST])), "seen")
    assert results.metrics["geometry"]["seen"]["names"]["alignment"] == {
        "n": 2,
        "value": 0.5,
        "chance": None,
        "majority": None,
        "standard_error": None,
    }


def test_k_is_capped_at_the_number_of_classes() -> None:
    metrics = accuracies(np.array([0, 2]), np.array([0, 1]), 3, [1, 5, 10])
    assert list(metrics) == ["top_1", "top_3", "balanced_accuracy"]
    assert metrics["top_3"]["value"] == 1.0


def test_rows_without_a_class_are_not_asked() -> None:
    question = ask(
        encoded(part(["wren", "x"], [EAST, NORTH], subcategory=["bird", ""])), "novel", "subcategory", ["bird"], "all"
    )
    assert (question.uids, question.truth.tolist()) == (["0"], [0])


def test_a_part_without_a_single_class_is_refused() -> None:
    with pytest.raises(ValueError, match="part novel: no picture has a subcategory among the 1 classes of all"):
        ask(PERFECT, "novel", "subcategory", ["fish"], "all")


def test_class_lists_leave_the_category_out() -> None:
    assert class_lists(PERFECT, "flags") == {"all": ["bird", "cat", "country-flag"], "without_flags": ["bird", "cat"]}
    assert class_lists(PERFECT, None) == {"all": ["bird", "cat", "country-flag"]}


def test_predictions_say_what_was_said() -> None:
    results = Results()
    protocols.zero_shot(results, encoded(part(["wren"], [NORTH])), "novel", "subcategory", [1])
    assert results.predictions == [
        {
            "protocol": "subcategory",
            "part": "novel",
            "variant": "members",
            "uid": "0",
            "label": "bird",
            "prediction": "cat",
            "rank": 2,
        }
    ], "a cat is ahead of the bird, and a flag ties with it"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")
def test_a_gpu_says_the_same() -> None:
    there = protocols.run(dataclasses.replace(PERFECT, device="cuda"), PROTOCOLS, None)
    assert there.predictions == protocols.run(PERFECT, PROTOCOLS, None).predictions
