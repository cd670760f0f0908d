"""Geometry of the shared space: alignment, uniformity, modality gap and cyclic gaps.

Row i of the images and row i of the texts belong together.
Squared distances of unit vectors are 2 - 2 cos. All inputs are (N, D) and L2-normalised; all sums are in float64.
"""

import numpy as np

from cyclip_model.metrics.zeroshot import Bools, Floats, Ints, cosines


def alignment(image_ND: Floats, text_ND: Floats) -> float:
    """Mean squared distance of pairs: 0 is perfect, 2 is what unrelated pairs have."""
    return float(((image_ND.astype(np.float64) - text_ND) ** 2).sum(axis=1).mean())


def uniformity(a_ND: Floats, b_ND: Floats) -> float:
    """log of the mean of exp(-2 d^2) over j != k: 0 when all points coincide, about -4 when spread over the sphere.

    The same array twice gives the uniformity of one modality (arXiv 2005.10242), images and texts that across them.
    """
    cos_NN = cosines(a_ND, b_ND)
    return float(np.log(np.exp(-2 * (2 - 2 * cos_NN[_off_diagonal(len(cos_NN))])).mean()))


def label_alignment(image_ND: Floats, class_CD: Floats, label_N: Ints) -> float:
    """Mean cosine of images and the embedding of their class (CyCLIP's alignment)."""
    return float(cosines(image_ND, class_CD)[np.arange(len(label_N)), label_N].mean())


def label_uniformity(image_ND: Floats, class_CD: Floats, label_N: Ints) -> float:
    """log of the mean of exp(-cos) over images and the classes that are not theirs (CyCLIP's uniformity)."""
    cos_NC = cosines(image_ND, class_CD)
    other_NC = label_N[:, None] != np.arange(len(class_CD))[None, :]
    return float(np.log(np.exp(-cos_NC[other_NC]).mean()))


def modality_gap(image_ND: Floats, text_ND: Floats) -> float:
    """Distance between the mean image and the mean text embedding (arXiv 2203.02053), 0 to 2."""
    return float(np.linalg.norm(image_ND.astype(np.float64).mean(axis=0) - text_ND.astype(np.float64).mean(axis=0)))


def in_modal_gap(image_ND: Floats, text_ND: Floats) -> float:
    """Mean over (j, k) of (<I_j, I_k> - <T_j, T_k>)^2: CyCLIP's in-modal term over N, so that N does not matter."""
    return float(((cosines(image_ND, image_ND) - cosines(text_ND, text_ND)) ** 2).mean())


def cross_modal_gap(image_ND: Floats, text_ND: Floats) -> float:
    """Mean over all (j, k) of (<I_j, T_k> - <I_k, T_j>)^2: CyCLIP's cross-modal term over N."""
    cos_NN = cosines(image_ND, text_ND)
    return float(((cos_NN - cos_NN.T) ** 2).mean())


def _off_diagonal(n: int) -> Bools:
    return ~np.eye(n, dtype=np.bool_)
