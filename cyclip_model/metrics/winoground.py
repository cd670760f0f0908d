"""Winoground's scores (arXiv 2204.03162, section 4.1): two pictures and two captions of the same words."""

from typing import NamedTuple

from cyclip_model.metrics.zeroshot import Bools, Floats


class Scores(NamedTuple):
    """Of E examples."""

    text_E: Bools
    image_E: Bools
    group_E: Bools


def scores(cosine_E22: Floats) -> Scores:
    """Which examples are right, cosine[e, image, caption]; a tie is wrong."""
    (a, b), (c, d) = cosine_E22[:, 0].T, cosine_E22[:, 1].T
    text_E, image_E = (a > b) & (d > c), (a > c) & (d > b)
    return Scores(text_E, image_E, text_E & image_E)
