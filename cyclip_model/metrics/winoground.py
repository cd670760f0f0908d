"""Winoground (arXiv 2204.03162): two pictures, two captions of the same words; which belongs to which?"""

import numpy as np

from cyclip_model.metrics.zeroshot import TIE, Bools, Floats


def scores(cosine_E22: Floats) -> tuple[Bools, Bools, Bools]:
    """(E,) text, image and group scores of E examples, given cosine[example, image, caption].

    Text: each picture is closer to its own caption than to the other. Image: each caption is closer to its own
    picture. Group: both. A tie (zeroshot.TIE) is no hit. Chance is 1/4, 1/4 and 1/6.
    Raises ValueError for another shape.
    """
    if cosine_E22.shape[1:] != (2, 2):
        raise ValueError(f"the cosines have shape {cosine_E22.shape}: there must be two pictures and two captions each")
    own_E2 = np.stack([cosine_E22[:, 0, 0], cosine_E22[:, 1, 1]], axis=1)
    other_caption_E2 = np.stack([cosine_E22[:, 0, 1], cosine_E22[:, 1, 0]], axis=1)
    text_E = np.asarray((own_E2 > other_caption_E2 + TIE).all(axis=1), dtype=np.bool_)
    image_E = np.asarray((own_E2 > other_caption_E2[:, ::-1] + TIE).all(axis=1), dtype=np.bool_)
    return text_E, image_E, text_E & image_E
