"""nCLIP's zero-shot scores as dot products (arXiv 2210.09304 does not say which it uses; docs/objectives.md).

p and q are an image's and a text's distribution over K clusters, H their heads' outputs before the softmax.

    cluster_cosine   <p, q> / (|p| |q|)
    cross_entropy    -1/2 [CE(p, q) + CE(q, p)] = 1/2 <[p, log p], [log q, q]>
    head_cosine      cosine of the heads' outputs
    tower_cosine     cosine of the towers' features: what anybody takes who has no heads
"""

import numpy as np

from cyclip_model.metrics.zeroshot import Floats, Ints, class_embeddings, normalise

NAMES = ("cluster_cosine", "cross_entropy", "head_cosine", "tower_cosine")
_LEAST = 1e-30
"""Of a probability, before its logarithm: float32's smallest normal number is 1e-38."""


def image_sides(features_ND: Floats, logits_NK: Floats, shares_NK: Floats) -> dict[str, Floats]:
    """score -> what stands for N images in its dot product.

    Args:
        features_ND: of the tower.
        logits_NK: of the head.
        shares_NK: cluster probabilities.
    """
    return {
        "cluster_cosine": normalise(shares_NK),
        "cross_entropy": np.concatenate([shares_NK, _log(shares_NK)], axis=1) / 2,
        "head_cosine": normalise(logits_NK),
        "tower_cosine": normalise(features_ND),
    }


def class_sides(
    features_PD: Floats, logits_PK: Floats, shares_PK: Floats, class_P: Ints, num_classes: int
) -> dict[str, Floats]:
    """score -> what stands for C classes: the normalised mean of unit rows of a class's P prompts.

    For cross_entropy it is the mean of their distributions, which is a distribution.
    """
    mean_CK = np.zeros((num_classes, shares_PK.shape[1]))
    np.add.at(mean_CK, class_P, shares_PK)
    mean_CK /= np.bincount(class_P, minlength=num_classes)[:, None]
    return {
        "cluster_cosine": class_embeddings(shares_PK, class_P, num_classes),
        "cross_entropy": np.concatenate([_log(mean_CK), mean_CK], axis=1),
        "head_cosine": class_embeddings(logits_PK, class_P, num_classes),
        "tower_cosine": class_embeddings(features_PD, class_P, num_classes),
    }


def _log(shares: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(shares, _LEAST)))
