"""The well-known URL lists by name: which of their columns is which of our fields, and the scores they bring.

A preset names for each field what the list calls it, in any case, the usual name first. Columns that a release of
the list lacks are left out, but for URL and caption. Scores keep the list's own names, for a threshold belongs to one
model's score; only `faces` (a count), `width` and `height` (px, as the list saw them) are called alike everywhere.
"""

import dataclasses
from collections.abc import Mapping

Names = tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """One well-known list."""

    formats: Names
    """Formats it is published in."""
    columns: Mapping[str, Names]
    """Our field -> the list's names for it; places (1, 2, ...) where the file has no header."""
    scores: Mapping[str, Names]
    """Name of a score -> the list's columns."""


def _same(*names: str) -> dict[str, Names]:
    return {name: (name,) for name in names}


CC3M = Preset(formats=("tsv",), columns={"url": ("url", "2"), "caption": ("caption", "1")}, scores={})
"""Conceptual Captions: caption TAB url, no header (ai.google.com/research/ConceptualCaptions/download; the header that
img2dataset's dataset_examples/cc3m.md puts on top is understood too)."""

CC12M = Preset(formats=("tsv",), columns={"url": ("url", "1"), "caption": ("caption", "2")}, scores={})
"""Conceptual 12M: url TAB caption, no header (github.com/google-research-datasets/conceptual-12m, README, Download)."""

LAION400M = Preset(
    formats=("parquet",),
    columns={"url": ("URL",), "caption": ("TEXT",), "license": ("LICENSE",), "list_uid": ("SAMPLE_ID",)},
    scores={**_same("similarity", "nsfw"), "width": ("WIDTH",), "height": ("HEIGHT",)},
)
"""LAION-400M metadata: SAMPLE_ID, URL, TEXT, LICENSE (`?` where none was found), NSFW, similarity, WIDTH, HEIGHT
(laion.ai/blog/laion-400-open-dataset, URL and caption metadata dataset). NSFW is UNLIKELY, UNSURE or NSFW: 0, 1, 2."""

LAION2B = Preset(
    formats=("parquet",),
    columns={
        "url": ("URL",),
        "caption": ("TEXT",),
        "license": ("LICENSE",),
        "list_uid": ("SAMPLE_ID", "hash"),
    },
    scores={
        **_same("similarity", "punsafe", "pwatermark", "nsfw"),
        "aesthetic": ("aesthetic", "AESTHETIC_SCORE"),
        "width": ("WIDTH",),
        "height": ("HEIGHT",),
    },
)
"""LAION-2B and its relatives of LAION-5B: URL, TEXT, WIDTH, HEIGHT, similarity, and in the joined releases punsafe,
pwatermark and hash, a number of url + text (laion.ai/blog/laion-5b, Dataset columns). The aesthetic subsets on the
Hugging Face hub add aesthetic or AESTHETIC_SCORE."""

COYO = Preset(
    formats=("parquet",),
    columns={"url": ("url",), "caption": ("text",), "list_uid": ("id",)},
    scores={
        **_same("clip_similarity_vitb32", "clip_similarity_vitl14", "nsfw_score_opennsfw2", "nsfw_score_gantman"),
        **_same("watermark_score", "aesthetic_score_laion_v2", "width", "height"),
        "faces": ("num_faces",),
    },
)
"""COYO-700M (github.com/kakaobrain/coyo-dataset, README, Meta-Attributes). Its image_phash is another kind of
perceptual hash than ours: comparing the two would mean nothing, so it is not taken."""

DATACOMP = Preset(
    formats=("parquet",),
    columns={"url": ("url",), "caption": ("text",), "list_uid": ("uid",), "expected_sha256": ("sha256",)},
    scores={
        **_same("clip_b32_similarity_score", "clip_l14_similarity_score"),
        "faces": ("face_bboxes",),
        "width": ("original_width",),
        "height": ("original_height",),
    },
)
"""CommonPool and DataComp metadata: uid, url, text, original_width, original_height, clip_b32_similarity_score,
clip_l14_similarity_score, face_bboxes (a box a face) and sha256 of the picture's bytes
(github.com/mlfoundations/datacomp, README, and huggingface.co/datasets/mlfoundations/datacomp_small, its columns)."""

COCO = Preset(
    formats=("json",),
    columns={"url": ("coco_url",), "caption": ("caption",), "license": ("license",), "list_uid": ("id",)},
    scores=_same("width", "height"),
)
"""COCO captions json: lists images (id, coco_url, license, ...) and annotations (id, image_id, caption)
(cocodataset.org/#format-data, Image Captioning). Several captions of one picture are several pairs."""

PRESETS: Mapping[str, Preset] = {
    "cc3m": CC3M,
    "cc12m": CC12M,
    "laion400m": LAION400M,
    "laion2b": LAION2B,
    "coyo": COYO,
    "datacomp": DATACOMP,
    "coco": COCO,
}
