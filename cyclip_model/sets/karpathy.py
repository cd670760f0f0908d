"""Family karpathy: COCO and Flickr30K with captions, in Karpathy's splits: dataset_coco.json, dataset_flickr30k.json.

The pictures lie under FOLDER/images, or right in FOLDER, at filepath/filename as the annotations have it. Only the
split `test` is read: 5000 pictures of COCO, 1000 of Flickr30K, every one with all its captions.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclip_model.sets.entry import TEST, Entry, Opened
from cyclip_model.sets.pictures import Row
from lineage import files

KEYS = frozenset(("annotations",))
HOW = (
    "Karpathy's splits are caption_datasets.zip of cs.stanford.edu/people/karpathy/deepimagesent; lay "
    "dataset_coco.json or dataset_flickr30k.json beside the pictures of COCO 2014 or Flickr30K, under images/"
)


def load(entry: Entry) -> Opened:
    """The set in the entry's folder.

    Raises:
        AbsentError: the folder is not there.
        FileNotFoundError: annotations or a picture are missing.
        ValueError: the annotations are damaged; names file and entry.
    """
    entry.require(HOW)
    annotations = _annotations(entry)
    wanted = _read(annotations)
    for path, _ in _places(entry.folder, annotations, wanted):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {annotations.name} has captions of it")
    return Opened(kind="retrieval", parts={TEST: functools.partial(_rows, entry.folder, annotations, wanted)})


def _annotations(entry: Entry) -> Path:
    if named := entry.option("annotations", ""):
        path = entry.folder / str(named)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: set.json names it as annotations")
        return path
    found = sorted(entry.folder.glob("dataset_*.json"))
    if len(found) != 1:
        raise FileNotFoundError(f"{entry.folder}: there must be one dataset_*.json, not {len(found)}; {HOW}")
    return found[0]


def _read(path: Path) -> list[dict[str, Any]]:
    content = files.read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise ValueError(f"{path}: no list of images in it")
    found = []
    for number, image in enumerate(content["images"]):
        try:
            if image["split"] != TEST:
                continue
            captions = [str(sentence["raw"]).strip() for sentence in image["sentences"]]
            found.append({"file": str(Path(image.get("filepath", ""), image["filename"])), "captions": captions})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: image {number}: {error} is missing") from None
        if not captions or not all(captions):
            raise ValueError(f"{path}: image {number}: a caption is missing")
    if not found:
        raise ValueError(f"{path}: no image of split test")
    return found


def _places(folder: Path, annotations: Path, wanted: list[dict[str, Any]]) -> Iterator[tuple[Path, list[str]]]:
    root = folder / "images" if (folder / "images").is_dir() else folder
    for image in wanted:
        path = root / image["file"]
        if not path.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{annotations}: {image['file']} lies outside {root}")
        yield path, image["captions"]


def _rows(folder: Path, annotations: Path, wanted: list[dict[str, Any]]) -> Iterator[Row]:
    for path, captions in _places(folder, annotations, wanted):
        yield {"image": path.read_bytes(), "captions": captions}
