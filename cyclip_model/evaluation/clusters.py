"""Models with cluster heads: nCLIP's zero-shot scores side by side, and gauges of how the clusters are used.

The paper does not say which score its zero-shot numbers use (docs/objectives.md), so all are filed under their names;
tower_cosine is the one that any open_clip user can take, for it needs no heads.
"""

from typing import NamedTuple

from cyclip_model.evaluation import encode
from cyclip_model.evaluation.answers import Metrics, Results
from cyclip_model.evaluation.suite import Question
from cyclip_model.metrics import baselines, clusters, scores, zeroshot
from cyclip_model.metrics.baselines import leaf, share
from cyclip_model.metrics.zeroshot import Floats, Ints
from cyclip_model.model.heads import Saved

TOP_K = (1, 5)


class Prompts(NamedTuple):
    """What stands for the classes: the text tower's features of P prompts."""

    features: Floats
    """(P, D) float32, not normalised."""
    class_P: Ints
    """(P,) the class of each."""


def score(
    results: Results, asked: Question, features_ND: Floats, prompts: Prompts, saved: Saved, *, device: str
) -> None:
    """Files top-k accuracy by each of scores.NAMES as variants of protocol scores.

    Args:
        asked: what is asked of the N pictures; its variant is not read.
        features_ND: of the image tower, not normalised.
    """
    logits_NK, shares_NK = (of(saved, features_ND, "image") for of in (encode.cluster_logits, encode.shares))
    logits_PK, shares_PK = (of(saved, prompts.features, "text") for of in (encode.cluster_logits, encode.shares))
    num_classes = len(asked.classes)
    images = scores.image_sides(features_ND, logits_NK, shares_NK)
    classes = scores.class_sides(prompts.features, logits_PK, shares_PK, prompts.class_P, num_classes)
    for name in scores.NAMES:
        rank_N = zeroshot.classify(images[name], classes[name], asked.truth, device=device).rank_N
        results.add("scores", asked.part, name, _top(rank_N, asked.truth, num_classes))


def _top(rank_N: Ints, label_N: Ints, num_classes: int) -> Metrics:
    found = {}
    for k in sorted({min(k, num_classes) for k in TOP_K}):
        levels = baselines.chance_top_k(k, num_classes), baselines.majority_top_k(label_N, k)
        found[f"top_{k}"] = share(zeroshot.top_k(rank_N, k), len(rank_N), *levels)
    return found


def gauge(results: Results, part: str, features_ND: Floats, label_N: Ints, saved: Saved) -> None:
    """Files how the pictures of a part fall into clusters, and how far those agree with their labels."""
    found = clusters.gauges(encode.shares(saved, features_ND, "image"), label_N)
    results.add(
        "clusters",
        part,
        "images",
        {name: leaf(value, len(label_N)) for name, value in found.items() if value is not None},
    )
