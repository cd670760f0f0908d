"""Family image_folder: a folder of pictures for each class, as ImageNet's sets and those of its shifts have it.

settings: test, the folder of the test part under path (default: path itself); train, that of the train part (default:
none); folders, how they are named: wnid (n01440764, ImageNet's), number (0 to 999, ImageNet's labels, as -V2 has it) or
name (the class's own name); num_classes, how many there must be, so that half a set is noticed.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cyclip_model.sets import prompts
from cyclip_model.sets.description import DESCRIPTION, TEST, TRAIN, AbsentError, Description, Loaded, check_settings
from cyclip_model.sets.pictures import Row

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".ppm"}
HOW = "unpack the set so that each class is a folder of pictures, and name the folder above them as path in set.json"


def load(described: Description, folder: Path) -> Loaded:
    """Returns a set of one folder a class; classes are ordered by ImageNet's label, or by name.

    Raises:
        AbsentError: the folder is not there, or holds nothing.
        ValueError: a folder is no class, has no picture, or classes are missing.
    """
    check_settings(described, ("test", "train", "folders", "num_classes"))
    naming = described.setting("folders", "wnid")
    if naming not in ("wnid", "number", "name"):
        raise ValueError(f"set {described.name}: settings.folders must be wnid, number or name, not {naming!r}")
    places = {TEST: folder / described.setting("test", ".")}
    if described.setting("train", None) is not None and TRAIN in (described.parts or [TRAIN, TEST]):
        places[TRAIN] = folder / described.setting("train", None)
    if not folder.is_dir() or all(child.name == DESCRIPTION for child in folder.iterdir()):
        raise AbsentError(f"nothing is in {folder}", described.how or HOW)
    keys = _ordered(_classes(places[TEST]), naming, places[TEST])
    wanted = described.setting("num_classes", len(keys))
    if len(keys) != wanted:
        raise ValueError(f"{places[TEST]}: {len(keys)} folders of classes, but num_classes is {wanted}")
    for place in places.values():
        if set(_classes(place)) != set(keys):
            odd = sorted(set(_classes(place)) ^ set(keys))[0]
            raise ValueError(f"{place}: class {odd} is not in both parts")
    parts = {part: partial(_rows, place, keys, _pictures(place, keys)) for part, place in places.items()}
    return _described(described, naming, keys, parts)


def _described(
    described: Description, naming: str, keys: list[str], parts: dict[str, partial[Iterator[Row]]]
) -> Loaded:
    if naming == "name":
        names = [key.replace("_", " ") for key in keys]
        if described.templates == "own":
            raise ValueError(f"set {described.name}: templates must be imagenet or a list: folders bring none")
        return Loaded(kind="classification", parts=dict(parts), classnames=names)
    of_parent = [_number(key, naming) for key in keys]
    names = prompts.imagenet_names()
    return Loaded(
        kind="classification",
        parts=dict(parts),
        classnames=[names[number] for number in of_parent],
        templates=prompts.imagenet_templates() if described.templates == "own" else None,
        parent_classes=of_parent if described.shift_of else None,
        sources=[prompts.source_of("open-clip-torch", "ImageNet class names and templates")],
    )


def _classes(place: Path) -> list[str]:
    if not place.is_dir():
        raise FileNotFoundError(f"{place} is missing: the part's folder of class folders")
    return sorted(child.name for child in place.iterdir() if child.is_dir() and not child.name.startswith("."))


def _number(key: str, naming: str) -> int:
    return int(key) if naming == "number" else prompts.imagenet_wnids().index(key)


def _ordered(keys: list[str], naming: str, place: Path) -> list[str]:
    known = set(prompts.imagenet_wnids()) if naming == "wnid" else {str(number) for number in range(1000)}
    for key in keys if naming != "name" else []:
        if key not in known:
            raise ValueError(f"{place / key}: {key} is not one of ImageNet's 1000 classes by {naming}")
    return sorted(keys) if naming == "name" else sorted(keys, key=lambda key: _number(key, naming))


def _pictures(place: Path, keys: list[str]) -> list[list[str]]:
    """Returns the pictures of each class, sorted; every class has one, or the set is half there."""
    found = []
    for key in keys:
        names = sorted(path.name for path in (place / key).iterdir() if path.suffix.lower() in SUFFIXES)
        if not names:
            raise ValueError(f"{place / key}: no picture in this class; lay the whole set down")
        found.append(names)
    return found


def _rows(place: Path, keys: list[str], pictures: list[list[str]]) -> Iterator[Row]:
    for label, (key, names) in enumerate(zip(keys, pictures, strict=True)):
        for name in names:
            yield {"image": (place / key / name).read_bytes(), "label": label}
