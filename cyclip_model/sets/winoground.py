"""Family winoground: examples.jsonl and images/ as facebook/winoground lays them (arXiv 2204.03162)."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cyclip_model.sets.description import TEST, Description, Loaded, check_settings, only_picture, require
from cyclip_model.sets.pictures import Row

HOW = (
    "agree to the terms at https://huggingface.co/datasets/facebook/winoground, put examples.jsonl there and unpack "
    "images.zip beside it, and name the folder as path in set.json"
)
_KEYS = ("id", "image_0", "image_1", "caption_0", "caption_1")


def load(described: Description, folder: Path) -> Loaded:
    """Returns the examples, two rows each: side 0 and side 1.

    Raises:
        AbsentError: nothing is in the folder.
        ValueError: a line is no example, naming it.
    """
    check_settings(described, ())
    how = described.how or HOW
    path = require(folder / "examples.jsonl", folder, how)
    images = require(folder / "images", folder, how)
    return Loaded(kind="winoground", parts={TEST: partial(_rows, images, path, _examples(path))})


def _examples(path: Path) -> list[tuple[int, dict[str, Any]]]:
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            example = json.loads(line)
            missing = [key for key in _KEYS if key not in example]
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(f"{path}: line {number}: not a JSON object ({error})") from None
        if missing:
            raise ValueError(f"{path}: line {number}: {missing[0]} is missing")
        found.append((number, example))
    return found


def _rows(images: Path, path: Path, examples: list[tuple[int, dict[str, Any]]]) -> Iterator[Row]:
    for number, example in examples:
        for side in (0, 1):
            name = str(example[f"image_{side}"])
            picture = only_picture(images, name if Path(name).suffix else f"{name}.png", f"{path}: line {number}")
            caption, tag = (
                str(example[f"caption_{side}"]),
                str(example.get("collapsed_tag") or example.get("tag") or ""),
            )
            yield {"image": picture, "example": int(example["id"]), "side": side, "caption": caption, "tag": tag}
