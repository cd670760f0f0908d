"""Family image_folder: a folder of pictures for each class: ImageNet's validation part and its shifts, or any set.

    FOLDER/CLASS/PICTURE.jpg                     or, where there is a train part as well,
    FOLDER/train/CLASS/..., FOLDER/test/CLASS/...      (val for test will do)

CLASS is a WordNet id or a number of ImageNet's (`labels`: "wnid" or "number"), or the name itself ("name").
"""

import functools
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cyclip_model.sets import wording
from cyclip_model.sets.entry import DESCRIPTION, TEST, TRAIN, Entry, Opened
from cyclip_model.sets.pictures import Row

KEYS = frozenset(("labels", "classes"))
SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".ppm", ".bmp", ".gif"))
LABELS = ("wnid", "number", "name")
Named = tuple[list[str], dict[str, Any], tuple[str, ...]]
"""Folders of the classes in the order of their numbers, what is said of the set, and the names' sources."""
SUBSETS = ("all", "a", "r")
"""ImageNet's 1000 classes, and the 200 of ImageNet-A and of ImageNet-R."""
HOW = "lay down a folder of pictures for each class and name their folder as `path` in set.json; see docs/sets.md"


def load(entry: Entry) -> Opened:
    """The set in the entry's folder.

    Raises:
        AbsentError: the folder is not there.
        FileNotFoundError: a class has no folder, or a folder no picture.
        ValueError: a folder is of no class, or holds something that is no picture.
    """
    entry.require(HOW)
    roots = _roots(entry)
    folders, facts, sources = _by_name(entry, roots[TEST]) if _labels(entry) == "name" else _of_imagenet(entry)
    own = list(wording.PLAIN) if _labels(entry) == "name" else wording.imagenet_templates()
    facts["templates"], more = wording.chosen(entry.templates, lambda: own)
    number_of = {folder: number for number, folder in enumerate(folders)}
    for root in roots.values():
        _check(root, number_of)
    parts = {part: functools.partial(_rows, root, number_of) for part, root in roots.items()}
    return Opened(kind="classification", parts=parts, facts=facts, sources=(*sources, *more))


def _labels(entry: Entry) -> str:
    found = entry.option("labels", "wnid")
    if found not in LABELS:
        raise ValueError(f"{entry.source / DESCRIPTION}: labels must be one of {', '.join(LABELS)}, not {found!r}")
    return str(found)


def _by_name(entry: Entry, root: Path) -> Named:
    folders = sorted(child.name for child in root.iterdir() if child.is_dir())
    return folders, wording.described([name.replace("_", " ") for name in folders], [], entry.shift_of), ()


def _of_imagenet(entry: Entry) -> Named:
    numbers, names, wnids = _numbers(entry), wording.imagenet_names(), wording.wnids()
    folders = [wnids[number] if _labels(entry) == "wnid" else str(number) for number in numbers]
    parents = numbers if entry.shift_of and len(numbers) < len(names) else None
    facts = wording.described([names[number] for number in numbers], [], entry.shift_of, parents)
    packages = {"names": "open_clip_torch", "order of WordNet ids": "timm"}
    return folders, facts, tuple(f"{what}: {name} {version(name)}" for what, name in packages.items())


def _roots(entry: Entry) -> dict[str, Path]:
    inside = {TRAIN: entry.folder / "train", TEST: entry.folder / "test"}
    if not inside[TEST].is_dir() and (entry.folder / "val").is_dir():
        inside[TEST] = entry.folder / "val"
    if not inside[TEST].is_dir():
        if inside[TRAIN].is_dir():
            raise FileNotFoundError(f"{inside[TEST]} is missing: beside a train folder there must be test or val")
        return {TEST: entry.folder}
    return {part: root for part, root in inside.items() if root.is_dir() and entry.wants(part)}


def _numbers(entry: Entry) -> list[int]:
    """The numbers that the set's classes have in ImageNet."""
    subset = entry.option("classes", "all")
    if subset not in SUBSETS:
        raise ValueError(f"{entry.source / DESCRIPTION}: classes must be one of {', '.join(SUBSETS)}, not {subset!r}")
    number = {wnid: place for place, wnid in enumerate(wording.wnids())}
    return sorted(number[wnid] for wnid in wording.wnids(subset))


def _check(root: Path, number_of: Mapping[str, int]) -> None:
    here = {child.name for child in root.iterdir() if child.is_dir()}
    if strange := sorted(here - set(number_of)):
        raise ValueError(f"{root / strange[0]}: no class of the set has this name; `labels` says what names mean")
    if missing := sorted(set(number_of) - here):
        raise FileNotFoundError(f"{root / missing[0]} is missing ({len(missing)} of {len(number_of)} classes are)")


def _rows(root: Path, number_of: Mapping[str, int]) -> Iterator[Row]:
    for key, label in sorted(number_of.items(), key=lambda pair: pair[1]):
        paths = sorted(path for path in (root / key).rglob("*") if path.is_file() and not path.name.startswith("."))
        if not paths:
            raise FileNotFoundError(f"{root / key}: no picture there")
        for path in paths:
            if path.suffix.lower() not in SUFFIXES:
                raise ValueError(f"{path}: not a picture by its name; take it out of the folder")
            yield {"image": path.read_bytes(), "label": label}
