"""Four zero-shot scores of a model with cluster heads, each written as a dot product of two feature rows.

nCLIP (arXiv 2210.09304) does not say which score its zero-shot classification takes, so all are reported side by side.
p and q are the softmax of the image's and the text's head outputs over a temperature. K clusters. What comes back is
float32, but for cross_entropy: a log of a small probability wants float64.
"""

import numpy as np
import torch

from cyclip_model.metrics.zeroshot import Floats, normalise

NAMES = ("cluster_cosine", "cross_entropy", "head_cosine", "tower_cosine")


def cluster_cosine(image_NK: Floats, text_CK: Floats, temperature: float) -> tuple[Floats, Floats]:
    """Rows whose dot product is the cosine of p and q, given the heads' outputs before the softmax."""
    image, text = (_log_softmax(head, temperature) for head in (image_NK, text_CK))
    return normalise(np.exp(image)), normalise(np.exp(text))


def cross_entropy(image_NK: Floats, text_CK: Floats, temperature: float) -> tuple[Floats, Floats]:
    """Rows (N, 2K), (C, 2K) whose dot product is -[CE(p, q) + CE(q, p)] / 2 = <[p, log p], [log q, q]> / 2."""
    log_p, log_q = (_log_softmax(head, temperature) for head in (image_NK, text_CK))
    return np.hstack([np.exp(log_p), log_p]) / 2, np.hstack([log_q, np.exp(log_q)])


def head_cosine(image_NK: Floats, text_CK: Floats) -> tuple[Floats, Floats]:
    """Rows whose dot product is the cosine of the heads' outputs before the softmax."""
    return normalise(image_NK), normalise(text_CK)


def tower_cosine(image_ND: Floats, text_CD: Floats) -> tuple[Floats, Floats]:
    """Rows whose dot product is the cosine of the towers' features."""
    return normalise(image_ND), normalise(text_CD)


def _log_softmax(head_NK: Floats, temperature: float) -> Floats:
    if not temperature > 0:
        raise ValueError(f"the temperature of the cluster heads is {temperature}: it must be above 0")
    log: Floats = torch.log_softmax(torch.from_numpy(head_NK).double() / temperature, dim=1).numpy()
    return log
