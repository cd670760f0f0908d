"""The evaluation set of the demo: which pictures are in which part, and the files it consists of."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from lineage import files, records
from pipelines.demo.artwork import Picture
from pipelines.demo.websites import GOOD, Row

TEMPLATES: Final = ("{}", "an emoji of {}")
PARTS: Final = ("train", "seen", "novel", "twemoji", "novel_twemoji", "lineart", "novel_lineart")
HELD_OUT: Final = PARTS[1:]
_TEXT = pa.string()
COLUMNS: Final = pa.schema(
    [("uid", _TEXT), ("image", pa.binary()), ("vendor", _TEXT), ("concept", _TEXT), ("name", _TEXT)]
    + [("caption", _TEXT), ("subcategory", _TEXT), ("category", _TEXT)]
)
SOURCES: Final = (
    {
        "name": "Noto Emoji",
        "version": "emoji-datasource-google 16.0.0",
        "licence": "Apache-2.0",
        "attribution": "Noto Emoji by Google; packaged by Cal Henderson (emoji-data)",
        "url": "https://github.com/googlefonts/noto-emoji",
    },
    {
        "name": "Fluent Emoji 3D",
        "version": "@lobehub/fluent-emoji-3d 1.1.0",
        "licence": "MIT",
        "attribution": "Fluent Emoji by Microsoft Corporation; packaged by LobeHub",
        "url": "https://github.com/microsoft/fluentui-emoji",
    },
    {
        "name": "OpenMoji",
        "version": "openmoji 17.0.0",
        "licence": "CC-BY-SA-4.0",
        "attribution": "All emojis designed by OpenMoji, the open-source emoji and icon project; "
        "changed: rendered on white",
        "url": "https://openmoji.org",
    },
    {
        "name": "Twemoji",
        "version": "emoji-datasource-twitter 16.0.0",
        "licence": "CC-BY-4.0",
        "attribution": "Twemoji by Twitter, Inc and other contributors; packaged by Cal Henderson (emoji-data); "
        "changed: put on white",
        "url": "https://github.com/jdecked/twemoji",
    },
)


def held_out_parts(pictures: Mapping[str, Sequence[Picture]], novel: set[str]) -> dict[str, list[Picture]]:
    """Returns the pictures of every part but train, each picture with a class.

    Args:
        pictures: `seen`, `novel`, and all of `twemoji` and `lineart`.
        novel: the concepts held out whole.
    """
    parts = {"seen": list(pictures["seen"]), "novel": list(pictures["novel"])}
    for vendor in ("twemoji", "lineart"):
        classed = [picture for picture in pictures[vendor] if picture.drawing.subcategory]
        parts[vendor] = [picture for picture in classed if picture.drawing.concept not in novel]
        parts[f"novel_{vendor}"] = [picture for picture in classed if picture.drawing.concept in novel]
    return {name: distinct(parts[name]) for name in HELD_OUT}


def train_part(rows: Sequence[Row]) -> list[Picture]:
    """Returns the pictures with a class that stand on the site as they should, with their own caption."""
    good = [row.picture for row in rows if row.picture and row.kind in GOOD]
    return distinct([picture for picture in good if picture.drawing.subcategory])


def distinct(pictures: Sequence[Picture]) -> list[Picture]:
    """Returns the pictures sorted by uid; of those with equal bytes, the first by vendor and key stays."""
    found: dict[str, Picture] = {}
    for picture in sorted(pictures, key=lambda picture: (picture.drawing.vendor, picture.drawing.key)):
        found.setdefault(picture.uid, picture)
    return [found[uid] for uid in sorted(found)]


def table(pictures: Sequence[Picture]) -> pa.Table:
    """Returns the pictures of a part as its table, one row each, in their order."""
    return pa.Table.from_pylist([_row(picture) for picture in pictures], schema=COLUMNS)


def write(parts: Mapping[str, Sequence[Picture]], folder: Path) -> None:
    """Writes set.json and a parquet file for each part."""
    description = {
        "name": "emoji",
        "sources": list(SOURCES),
        "templates": list(TEMPLATES),
        "parts": {name: len(parts[name]) for name in PARTS},
    }
    files.write_json(folder / "set.json", description)
    for name in PARTS:
        records.write_table(table(parts[name]), folder / f"{name}.parquet")


def _row(picture: Picture) -> dict[str, Any]:
    drawing = picture.drawing
    return {
        **{"uid": picture.uid, "image": picture.content, "vendor": drawing.vendor, "concept": drawing.concept},
        **{"name": drawing.name, "caption": drawing.name},
        **{"subcategory": drawing.subcategory, "category": drawing.category},
    }
