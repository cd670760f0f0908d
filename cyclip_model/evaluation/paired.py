"""Sets of pictures with captions: COCO and Flickr30K with all captions of a picture, and Winoground's twos of twos."""

import itertools
from pathlib import Path

import numpy as np

from cyclip_model.evaluation import stored
from cyclip_model.evaluation.answers import Found, Results
from cyclip_model.evaluation.encoder import Encoder
from cyclip_model.evaluation.protocols import ProtocolsConfig, pair_geometry
from cyclip_model.metrics import retrieval, winoground
from cyclip_model.metrics.baselines import share

PART = stored.TEST


def retrieve(encoder: Encoder, folder: Path, config: ProtocolsConfig) -> Results:
    """Recall at k both ways, every caption an item of its own; geometry of pictures and their first captions."""
    table = stored.columns(folder, PART, "uid", "captions")
    uids, captions = table["uid"].to_pylist(), table["captions"].to_pylist()
    image_ND = encoder.compared(stored.pictures(encoder, folder, PART).features, "image")
    lines = [line for of in captions for line in of]
    text_TD = encoder.compared(encoder.texts(lines), "text")
    num_N = np.array([len(of) for of in captions], dtype=np.int64)
    group_N, group_T = np.arange(len(uids)), np.repeat(np.arange(len(uids)), num_N)
    results = Results()
    pictures_find = Found(
        uids=uids,
        labels=[""] * len(uids),
        ranks=retrieval.group_ranks(image_ND, text_TD, group_N, group_T, device=encoder.device),
        num_relevant=num_N,
        num_items=len(lines),
    )
    captions_find = Found(
        uids=[uids[row] for row in group_T],
        labels=lines,
        ranks=retrieval.group_ranks(text_TD, image_ND, group_T, group_N, device=encoder.device),
        num_relevant=np.ones(len(lines), dtype=np.int64),
        num_items=len(uids),
    )
    results.recall(PART, "image_to_text", pictures_find, config.recall_k)
    results.recall(PART, "text_to_image", captions_find, config.recall_k)
    first_N = np.cumsum(num_N) - num_N
    results.add("geometry", PART, "pairs", pair_geometry(image_ND, text_TD[first_N], encoder.device))
    return results


def compose(encoder: Encoder, folder: Path) -> Results:
    """Winoground's text, image and group score (arXiv 2204.03162, section 4.1)."""
    table = stored.columns(folder, PART, "uid", "example", "side", "caption").to_pylist()
    order = sorted(range(len(table)), key=lambda row: (table[row]["example"], table[row]["side"]))
    for first, second in itertools.zip_longest(order[::2], order[1::2]):
        sides = [(table[row]["example"], table[row]["side"]) for row in (first, second) if row is not None]
        if sides != [(sides[0][0], 0), (sides[0][0], 1)]:
            raise ValueError(f"{folder}: example {sides[0][0]} does not have two pictures: run stage benchmarks again")
    image_ND = encoder.compared(stored.pictures(encoder, folder, PART).features, "image")[order]
    text_ND = encoder.compared(encoder.texts([table[row]["caption"] for row in order]), "text")
    pair_E = np.arange(len(order)).reshape(-1, 2)
    cosine_E22 = np.einsum("eid,ecd->eic", image_ND[pair_E].astype(np.float64), text_ND[pair_E].astype(np.float64))
    right = dict(zip(("text", "image", "group"), winoground.scores(cosine_E22), strict=True))
    chances = {"text": 1 / 4, "image": 1 / 4, "group": 1 / 6}
    results = Results()
    metrics = {name: share(float(right[name].mean()), len(pair_E), chance) for name, chance in chances.items()}
    results.add("winoground", PART, "all", metrics)
    results.predictions += [
        {
            "protocol": "winoground",
            "part": PART,
            "variant": "group",
            "uid": table[order[first]]["uid"],
            "label": table[order[first]]["caption"],
            "prediction": "",
            "rank": int(not hit),
        }
        for (first, _), hit in zip(pair_E.tolist(), right["group"].tolist(), strict=True)
    ]
    return results
