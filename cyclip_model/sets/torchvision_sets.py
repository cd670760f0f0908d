"""Family torchvision: sets that torchvision reads; settings.dataset is the name of its class.

Where torchvision takes a loader of files it gets one that returns bytes, so that pictures stay as they were published;
what it holds as arrays, or opens itself, is written as PNG, which loses nothing.
"""

import hashlib
import inspect
import io
import pickle
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from cyclip_model.sets import prompts
from cyclip_model.sets.description import TEST, TRAIN, AbsentError, Description, Loaded, check_settings
from cyclip_model.sets.pictures import Row


@dataclass(frozen=True, slots=True)
class _Known:
    place: str
    """What lies in the root when the set does."""
    words: str
    """clip-benchmark's name of the set."""
    has_packaged_names: bool = False
    """Whether its class names there are better than the file's: both are in the order of the labels."""
    train: tuple[str, ...] = ("train",)
    """The splits that make the train part; none: the set has no split."""


KNOWN = {
    "CIFAR10": _Known("cifar-10-batches-py", "cifar10"),
    "CIFAR100": _Known("cifar-100-python", "cifar100"),
    "Caltech101": _Known("caltech101", "caltech101", train=()),
    "Country211": _Known("country211", "country211", True, ("train", "valid")),
    "DTD": _Known("dtd", "dtd", train=("train", "val")),
    "EuroSAT": _Known("eurosat", "eurosat", True, ()),
    "FER2013": _Known("fer2013", "fer2013", True),
    "FGVCAircraft": _Known("fgvc-aircraft-2013b", "fgvc_aircraft", train=("trainval",)),
    "Flowers102": _Known("flowers-102", "flowers", True, ("train", "val")),
    "Food101": _Known("food-101", "food101"),
    "GTSRB": _Known("gtsrb", "gtsrb", True),
    "MNIST": _Known("MNIST", "mnist", True),
    "OxfordIIITPet": _Known("oxford-iiit-pet", "pets", train=("trainval",)),
    "PCAM": _Known("pcam", "pcam", True, ("train", "val")),
    "RenderedSST2": _Known("rendered-sst2", "renderedsst2"),
    "STL10": _Known("stl10_binary", "stl10"),
    "SUN397": _Known("SUN397", "sun397", train=()),
    "StanfordCars": _Known("stanford_cars", "cars"),
    "SVHN": _Known("test_32x32.mat", "svhn", True),
}
"""The sizes of train parts in CLIP's table of sets (arXiv 2103.00020) are those of train and val together."""
_BROKEN = (RuntimeError, OSError, KeyError, IndexError, ValueError, TypeError, EOFError, pickle.UnpicklingError)
"""What torchvision raises on a damaged set."""


def load(described: Description, folder: Path) -> Loaded:
    """Returns a set of torchvision.

    settings: dataset; train_per_class, for sets without a split: how many pictures of each class go to the train part,
    drawn by a hash (0: all are test).

    Raises:
        AbsentError: the set is not in the folder, and may not be fetched.
        ValueError: it is damaged, or torchvision's name of it is not one we know.
    """
    check_settings(described, ("dataset", "train_per_class"))
    name = described.setting("dataset", None)
    if name not in KNOWN:
        known = ", ".join(KNOWN)
        raise ValueError(f"set {described.name}: settings.dataset must be one of {known}, not {name!r}")
    if not described.download and not (folder / KNOWN[name].place).exists():
        how = f"torchvision.datasets.{name}({str(folder)!r}, download=True), or download: true and a path in set.json"
        raise AbsentError(f"{folder / KNOWN[name].place} is not there", how)
    opened = {part: _open(name, folder, part, described.download) for part in _wanted(described, KNOWN[name])}
    if KNOWN[name].train:
        parts = {part: partial(_rows, datasets) for part, datasets in opened.items()}
    else:
        (whole,) = opened[TEST]
        chosen = _split(
            _order(whole),
            [_label(whole, row) for row in range(len(whole))],
            int(described.setting("train_per_class", 0)),
        )
        kept = described.parts or [TRAIN, TEST]
        parts = {part: partial(_rows, [whole], rows) for part, rows in chosen.items() if part in kept}
    return _described(name, opened[TEST][0], parts, described)


def _wanted(described: Description, known: _Known) -> list[str]:
    return [part for part in (described.parts or [TRAIN, TEST]) if part == TEST or known.train]


def _described(name: str, dataset: Any, parts: dict[str, Any], described: Description) -> Loaded:
    known = KNOWN[name]
    raw: list[str] = getattr(dataset, "classes", None) or getattr(dataset, "categories", [])
    names = prompts.packaged_names(known.words) if known.has_packaged_names else [_spoken(word, name) for word in raw]
    superclasses = prompts.cifar100_superclasses(raw) if name == "CIFAR100" else None
    templates = prompts.packaged_templates(known.words) if described.templates == "own" else None
    source = prompts.source_of("clip-benchmark", f"class names and templates ({known.words})")
    return Loaded(
        kind="classification",
        parts=parts,
        classnames=names,
        templates=templates,
        superclasses=superclasses,
        sources=[source],
    )


def _spoken(word: str, name: str) -> str:
    return word.replace("_", " ").replace("/", " ") if name == "SUN397" else word.replace("_", " ")


def _open(name: str, root: Path, part: str, download: bool) -> list[Any]:
    from torchvision import datasets  # late: 3 s

    made = getattr(datasets, name)
    takes = inspect.signature(made.__init__).parameters
    options: dict[str, Any] = {"root": str(root)}
    if "loader" in takes:
        options["loader"] = _content
    if "download" in takes:
        options["download"] = download
    splits = KNOWN[name].train if part == TRAIN else (TEST,)
    try:
        if "split" in takes:
            return [made(**options, split=split) for split in splits]
        if "train" in takes:
            return [made(**options, train=part == TRAIN)]
        return [made(**options)]
    except _BROKEN as error:
        raise ValueError(f"{root / KNOWN[name].place}: torchvision cannot read {name}, part {part}: {error}") from None


def _content(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def _label(dataset: Any, index: int) -> int:
    """Returns the label of a row without its picture."""
    for word in ("_labels", "targets", "y"):
        if hasattr(dataset, word):
            return int(getattr(dataset, word)[index])
    return int(dataset._samples[index][1])


def _order(dataset: Any) -> list[int]:
    """Returns the rows in an order that no listing of a folder changes: SUN397's files come as the disk has them."""
    paths = getattr(dataset, "_image_files", None)
    rows = range(len(dataset))
    return list(rows) if paths is None else sorted(rows, key=lambda row: str(paths[row]))


def _split(order: list[int], labels: list[int], train_per_class: int) -> dict[str, list[int]]:
    """Returns the rows of train and test: of each class the first by a hash of their places in it go to train."""
    members = defaultdict(list)
    for row in order:
        members[labels[row]].append(row)
    train = set[int]()
    for label, rows in members.items():
        draws = sorted((hashlib.sha256(f"{label}/{place}".encode()).digest(), row) for place, row in enumerate(rows))
        train.update(row for _, row in draws[:train_per_class])
    chosen = {TRAIN: [row for row in order if row in train], TEST: [row for row in order if row not in train]}
    return {part: rows for part, rows in chosen.items() if rows}


def _rows(datasets: list[Any], chosen: list[int] | None = None) -> Iterator[Row]:
    for dataset in datasets:
        for index in _order(dataset) if chosen is None else chosen:
            yield _row(dataset, index)


def _row(dataset: Any, index: int) -> Row:
    """Returns a picture as bytes and its label.

    Raises:
        ValueError: the file of a picture is missing, or the row has no label.
    """
    name = type(dataset).__name__
    try:
        if name in ("OxfordIIITPet", "Caltech101"):
            picture, label = _file(dataset, index).read_bytes(), _label(dataset, index)
        else:
            picture, label = dataset[index]
    except UnidentifiedImageError:
        return {"image": b"", "label": _label(dataset, index)}
    except _BROKEN as error:
        raise ValueError(f"torchvision's {name}: row {index}: {error}") from None
    if label is None:
        raise ValueError(f"torchvision's {name}: row {index} has no label: this file is not the labelled one")
    return {"image": picture if isinstance(picture, bytes) else png(picture), "label": int(label)}


def _file(dataset: Any, index: int) -> Path:
    """Returns the file of a picture of the sets that open theirs themselves."""
    if hasattr(dataset, "_images"):
        return Path(str(dataset._images[index]))
    place = Path(dataset.root) / "101_ObjectCategories" / dataset.categories[dataset.y[index]]
    return Path(place, f"image_{dataset.index[index]:04d}.jpg")


def png(picture: Image.Image) -> bytes:
    """Returns a picture as PNG: the same bytes for the same pixels and Pillow."""
    target = io.BytesIO()
    picture.save(target, "PNG", compress_level=6)
    return target.getvalue()
