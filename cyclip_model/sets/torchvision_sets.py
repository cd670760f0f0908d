"""Family torchvision: sets that torchvision has a class for; `dataset` in set.json names the class.

Pictures that lie as files are taken as they are; those in arrays (CIFAR, MNIST, SVHN, STL10) become PNG, pixel for
pixel. torchvision's own checks decide whether the files are whole.
"""

import functools
import hashlib
import inspect
import itertools
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from cyclip_model.sets import wording
from cyclip_model.sets.entry import DESCRIPTION, PARTS, TEST, TRAIN, AbsentError, Entry, Opened
from cyclip_model.sets.pictures import Row, as_png

HOW = 'set "download": true and a "path" in set.json, or lay down what torchvision\'s class of the set fetches'
KEYS = frozenset(("dataset", "train_per_class"))
Splits = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one of torchvision's classes."""

    place: str
    """Pattern of what its files lie in, under the root: nothing there is a set that is absent."""
    train: Splits
    """The arguments that give the train part, read one after the other; none where torchvision knows no split."""
    test: Splits
    key: str
    """The set's name among CLIP_benchmark's templates."""
    is_named: bool = False
    """Whether CLIP_benchmark names its classes as well: torchvision's own names are numbers, codes or none."""


def _split(*names: str) -> Splits:
    return tuple({"split": name} for name in names)


_FLAG: tuple[Splits, Splits] = ({"train": True},), ({"train": False},)
_USUAL = _split("train"), _split("test")
_WITH_VAL = _split("train", "val"), _split("test")
_TRAINVAL = _split("trainval"), _split("test")
_UNSPLIT: tuple[Splits, Splits] = (), ({},)
KNOWN: Mapping[str, Known] = {
    "CIFAR10": Known("cifar-10-batches-py", *_FLAG, "cifar10"),
    "CIFAR100": Known("cifar-100-python", *_FLAG, "cifar100"),
    "Caltech101": Known("caltech101", *_UNSPLIT, "caltech101"),
    "Country211": Known("country211", _split("train", "valid"), _split("test"), "country211", is_named=True),
    "DTD": Known("dtd", *_WITH_VAL, "dtd"),
    "EuroSAT": Known("eurosat", *_UNSPLIT, "eurosat", is_named=True),
    "FER2013": Known("fer2013", *_USUAL, "fer2013"),
    "FGVCAircraft": Known("fgvc-aircraft-2013b", *_TRAINVAL, "fgvc_aircraft"),
    "Flowers102": Known("flowers-102", *_WITH_VAL, "flowers", is_named=True),
    "Food101": Known("food-101", *_USUAL, "food101"),
    "GTSRB": Known("gtsrb", *_USUAL, "gtsrb", is_named=True),
    "MNIST": Known("MNIST", *_FLAG, "mnist", is_named=True),
    "OxfordIIITPet": Known("oxford-iiit-pet", *_TRAINVAL, "pets"),
    "PCAM": Known("pcam", *_WITH_VAL, "pcam", is_named=True),
    "RenderedSST2": Known("rendered-sst2", *_USUAL, "renderedsst2"),
    "STL10": Known("stl10_binary", *_USUAL, "stl10"),
    "SUN397": Known("SUN397", *_UNSPLIT, "sun397"),
    "SVHN": Known("*_32x32.mat", *_USUAL, "svhn", is_named=True),
    "StanfordCars": Known("stanford_cars", *_USUAL, "cars"),
}
"""The parts as CLIP's linear probes take them (arXiv 2103.00020, appendix A.1): where a set has a validation part,
it belongs to train."""
FER2013 = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")
"""In the order of the numbers in fer2013.csv; CLIP_benchmark's list is in another, that of its folders."""
_FILES = (("_image_files", "_labels"), ("_images", "_labels"), ("_samples", None), ("samples", None))
"""Where torchvision's classes keep their paths and labels: no public name is theirs in common."""


_DAMAGE = (RuntimeError, OSError, LookupError, EOFError, ValueError, zipfile.BadZipFile)
"""What torchvision says of files that are missing or damaged."""


def load(entry: Entry) -> Opened:
    """The set in the entry's folder, fetched into it first where set.json says download.

    Raises:
        AbsentError: the folder is not there, and download is false.
        ValueError: `dataset` is no class that is known here, or torchvision finds files damaged or missing.
    """
    name = entry.option("dataset")
    if name not in KNOWN:
        raise ValueError(f"{entry.source / DESCRIPTION}: dataset {name!r} is none of {', '.join(KNOWN)}")
    known = KNOWN[name]
    if not entry.download:
        entry.require(HOW)
        if not any(entry.folder.glob(known.place)):
            raise AbsentError(f"{entry.folder / known.place} is not there", entry.how or HOW)
    per_class = entry.option("train_per_class", 0)
    if per_class and known.train:
        raise ValueError(f"{entry.source / DESCRIPTION}: {name} has a train part: train_per_class is not for it")
    splits = {TRAIN: known.train or (known.test if per_class else ()), TEST: known.test}
    made = {part: [_open(entry, name, dict(of)) for of in splits[part]] for part in PARTS if entry.wants(part)}
    _check_classes(entry, [dataset for of in made.values() for dataset in of])
    parts = {part: functools.partial(_all_rows, datasets) for part, datasets in made.items() if datasets}
    if per_class:
        chosen = draw(_labels(made[TEST][0]), per_class)
        for part in parts:
            parts[part] = functools.partial(_chosen_rows, made[part], chosen, is_train=part == TRAIN)
    classnames, sources = _classnames(made[TEST][0], known)
    templates, more = wording.chosen(entry.templates, functools.partial(wording.templates, known.key))
    facts = wording.described(classnames, templates, entry.shift_of)
    if name == "CIFAR100":
        facts["superclasses"] = wording.superclasses(classnames)
    package = f"pictures and labels: torchvision {version('torchvision')}, {name}"
    return Opened(kind="classification", parts=parts, facts=facts, sources=(package, *sources, *more))


def _open(entry: Entry, name: str, arguments: dict[str, Any]) -> Any:
    from torchvision import datasets

    made: Callable[..., Any] = getattr(datasets, name)
    if "download" in inspect.signature(made).parameters:
        arguments["download"] = entry.download
    elif entry.download:
        raise ValueError(f"{entry.source / DESCRIPTION}: torchvision does not fetch {name}: lay its files down")
    try:
        return made(entry.folder, **arguments)
    except _DAMAGE as error:
        raise ValueError(_unreadable(entry.folder, name, error)) from None


def _unreadable(folder: Path, name: str, error: Exception) -> str:
    said = " ".join(str(error).split())[:300]
    return f"{folder}: torchvision's {name} cannot be read ({type(error).__name__}: {said})"


def _check_classes(entry: Entry, datasets: list[Any]) -> None:
    """DTD and OxfordIIITPet number the classes of each list apart: one that lacks a class would count otherwise."""
    named = [list(getattr(dataset, "classes", ())) for dataset in datasets]
    if any(names != named[0] for names in named):
        raise ValueError(f"{entry.folder}: the lists of its parts do not name the same classes: a list is not whole")


def _classnames(dataset: Any, known: Known) -> tuple[list[str], tuple[str, ...]]:
    if known.key == "fer2013":
        return list(FER2013), ()
    if known.is_named:
        source = f"names: clip_benchmark {version('clip-benchmark')}, {wording.CLASSNAMES}"
        return wording.classnames(known.key), (source,)
    names = getattr(dataset, "classes", None) or dataset.categories
    return [str(name).replace("_", " ").replace("/", " ").strip() for name in names], ()


def draw(labels: Sequence[int], per_class: int) -> frozenset[int]:
    """The rows of a set without a split that are to be trained on: so many of each class, the same ones always.

    The order is that of sha256 of the row's number, which neither a seed nor a library's draw can change.

    Raises:
        ValueError: a class has no more rows than that, so that none were left to test.
    """
    if short := [label for label, number in sorted(Counter(labels).items()) if number <= per_class]:
        raise ValueError(f"class {short[0]} has no more than {per_class} pictures: none were left to test on")
    taken: Counter[int] = Counter()
    chosen = set()
    for row in sorted(range(len(labels)), key=lambda row: hashlib.sha256(str(row).encode()).digest()):
        if taken[labels[row]] < per_class:
            taken[labels[row]] += 1
            chosen.add(row)
    return frozenset(chosen)


def _files(dataset: Any) -> list[tuple[Path, int]] | None:
    """The paths and labels in the order of their paths; nothing where the pictures lie in arrays."""
    found: list[tuple[Any, Any]] | None = None
    if hasattr(dataset, "categories") and hasattr(dataset, "y"):
        folder = Path(dataset.root) / "101_ObjectCategories"
        numbered = zip(dataset.y, dataset.index, strict=True)
        found = [(folder / dataset.categories[y] / f"image_{index:04d}.jpg", y) for y, index in numbered]
    for paths, labels in _FILES if found is None else ():
        if hasattr(dataset, paths):
            listed = getattr(dataset, paths)
            found = list(zip(listed, getattr(dataset, labels), strict=True)) if labels else list(listed)
            break
    if found is None or (found and not isinstance(found[0][0], str | Path)):
        return None
    return sorted((Path(path), int(label)) for path, label in found)


def _labels(dataset: Any) -> list[int]:
    found = _files(dataset)
    return [label for _, label in found] if found is not None else [int(label) for label in dataset.targets]


def _pairs(dataset: Any) -> Iterator[tuple[Image.Image, int | None]]:
    """PCAM opens its file for each picture, so that damage shows late."""
    try:
        for number in range(len(dataset)):
            yield dataset[number]
    except _DAMAGE as error:
        raise ValueError(_unreadable(Path(dataset.root), type(dataset).__name__, error)) from None


def _rows(dataset: Any) -> Iterator[Row]:
    listed = _files(dataset)
    if listed is None:
        for picture, label in _pairs(dataset):
            if label is None:
                raise ValueError(f"{dataset.root}: the test part has no labels: lay down the files that have them")
            yield {"image": as_png(picture), "label": int(label)}
        return
    for path, label in listed:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: the set's lists name it")
        yield {"image": path.read_bytes(), "label": label}


def _all_rows(datasets: list[Any]) -> Iterator[Row]:
    return itertools.chain.from_iterable(map(_rows, datasets))


def _chosen_rows(datasets: list[Any], chosen: frozenset[int], *, is_train: bool) -> Iterator[Row]:
    return (row for number, row in enumerate(_all_rows(datasets)) if (number in chosen) == is_train)
