"""Geometry of the shared space: alignment, uniformity, modality gap and cyclic gaps.

Row i of the images and row i of the texts belong together.
Squared distances of unit vectors are 2 - 2 cos. All inputs are (N, D) and L2-normalised; all sums are in float64,
over blocks of rows: no table of N x N cosines is ever whole. chunk_rows moves a value by rounding only.
"""

from collections.abc import Iterator

import numpy as np

from cyclip_model.metrics import blocks
from cyclip_model.metrics.zeroshot import Floats, Ints


def alignment(image_ND: Floats, text_ND: Floats) -> float:
    """Mean squared distance of pairs: 0 is perfect, 2 is what unrelated pairs have."""
    return float(((image_ND.astype(np.float64) - text_ND) ** 2).sum(axis=1).mean())


def uniformity(a_ND: Floats, b_ND: Floats, *, chunk_rows: int | None = None, device: str = "cpu") -> float:
    """log of the mean of exp(-2 d^2) over j != k: 0 when all points coincide, about -4 when spread over the sphere.

    The same array twice gives the uniformity of one modality (arXiv 2005.10242), images and texts that across them.
    """
    total = 0.0
    for rows, cos_NN in _cosines(a_ND, b_ND, chunk_rows, device):
        other_NN = np.arange(len(a_ND))[rows, None] != np.arange(len(b_ND))
        total += float(np.exp(-2 * (2 - 2 * cos_NN[other_NN])).sum())
    return float(np.log(total / (len(a_ND) * (len(b_ND) - 1))))


def label_alignment(
    image_ND: Floats, class_CD: Floats, label_N: Ints, *, chunk_rows: int | None = None, device: str = "cpu"
) -> float:
    """Mean cosine of images and the embedding of their class (CyCLIP's alignment)."""
    own_N = np.empty(len(label_N))
    for rows, cos_NC in _cosines(image_ND, class_CD, chunk_rows, device):
        own_N[rows] = cos_NC[np.arange(len(cos_NC)), label_N[rows]]
    return float(own_N.mean())


def label_uniformity(
    image_ND: Floats, class_CD: Floats, label_N: Ints, *, chunk_rows: int | None = None, device: str = "cpu"
) -> float:
    """log of the mean of exp(-cos) over images and the classes that are not theirs (CyCLIP's uniformity)."""
    total = 0.0
    for rows, cos_NC in _cosines(image_ND, class_CD, chunk_rows, device):
        other_NC = label_N[rows, None] != np.arange(len(class_CD))[None, :]
        total += float(np.exp(-cos_NC[other_NC]).sum())
    return float(np.log(total / (len(label_N) * (len(class_CD) - 1))))


def modality_gap(image_ND: Floats, text_ND: Floats) -> float:
    """Distance between the mean image and the mean text embedding (arXiv 2203.02053), 0 to 2."""
    return float(np.linalg.norm(image_ND.astype(np.float64).mean(axis=0) - text_ND.astype(np.float64).mean(axis=0)))


def in_modal_gap(image_ND: Floats, text_ND: Floats, *, chunk_rows: int | None = None, device: str = "cpu") -> float:
    """Mean over (j, k) of (<I_j, I_k> - <T_j, T_k>)^2: CyCLIP's in-modal term over N, so that N does not matter."""
    images, texts = (_cosines(x_ND, x_ND, chunk_rows, device) for x_ND in (image_ND, text_ND))
    total = sum(
        float(((image_NN - text_NN) ** 2).sum()) for (_, image_NN), (_, text_NN) in zip(images, texts, strict=True)
    )
    return total / len(image_ND) ** 2


def cross_modal_gap(image_ND: Floats, text_ND: Floats, *, chunk_rows: int | None = None, device: str = "cpu") -> float:
    """Mean over all (j, k) of (<I_j, T_k> - <I_k, T_j>)^2: CyCLIP's cross-modal term over N."""
    total, every_ND = 0.0, blocks.on(image_ND, device)
    for rows, cos_NN in blocks.products(image_ND, text_ND, chunk_rows=chunk_rows, device=device):
        mirrored_NN = (every_ND @ blocks.on(text_ND[rows], device).T).T
        total += float(((cos_NN - mirrored_NN) ** 2).cpu().numpy().sum())
    return total / len(image_ND) ** 2


def _cosines(a_ND: Floats, b_MD: Floats, chunk_rows: int | None, device: str) -> Iterator[tuple[slice, Floats]]:
    for rows, cos_NM in blocks.products(a_ND, b_MD, chunk_rows=chunk_rows, device=device):
        yield rows, cos_NM.cpu().numpy()
