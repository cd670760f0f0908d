"""Family karpathy: COCO and Flickr30k with Karpathy's splits: his dataset_*.json beside the pictures.

settings: annotations, the file under path (dataset_coco.json, dataset_flickr30k.json); images, the folder of the
pictures under path (default: path itself); COCO's entries name the folder of theirs, val2014, themselves.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cyclip_model.sets.description import TEST, Description, Loaded, check_settings, only_picture, require
from cyclip_model.sets.pictures import Row
from lineage import files

HOW = (
    "get Karpathy's caption_datasets.zip (https://cs.stanford.edu/people/karpathy/deepimagesent/) and the pictures: "
    "COCO's val2014.zip from https://cocodataset.org, Flickr30k's on request from its authors"
)


def load(described: Description, folder: Path) -> Loaded:
    """Returns the test split: each picture with all of its captions, in the order of the file.

    Raises:
        AbsentError: nothing is in the folder.
        ValueError: the file is no such list, or an entry lacks something, naming it.
    """
    check_settings(described, ("annotations", "images"))
    name = described.setting("annotations", None)
    if not isinstance(name, str):
        raise ValueError(f"set {described.name}: settings.annotations must name Karpathy's file, as dataset_coco.json")
    path = require(folder / name, folder, described.how or HOW)
    entries = _entries(path)
    return Loaded(
        kind="retrieval", parts={TEST: partial(_rows, path, folder / described.setting("images", "."), entries)}
    )


def _entries(path: Path) -> list[tuple[int, str, list[str]]]:
    content = files.read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise ValueError(f"{path}: no list of images: this is not one of Karpathy's files")
    return [_entry(path, number, one) for number, one in enumerate(content["images"]) if one.get("split") == TEST]


def _entry(path: Path, number: int, one: Any) -> tuple[int, str, list[str]]:
    try:
        captions = [" ".join(str(sentence["raw"]).split()) for sentence in one["sentences"]]
        name = "/".join(word for word in (one.get("filepath", ""), one["filename"]) if word)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: images[{number}]: {error} is missing") from None
    if not captions or not all(captions):
        raise ValueError(f"{path}: images[{number}]: a caption is empty, or none is there")
    return number, name, captions


def _rows(path: Path, images: Path, entries: list[tuple[int, str, list[str]]]) -> Iterator[Row]:
    for number, name, captions in entries:
        yield {"image": only_picture(images, name, f"{path}: images[{number}]"), "captions": captions}
