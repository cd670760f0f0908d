"""Tiny sets on disk in the very forms that torchvision's classes read: two classes, a few pictures a part.

Each function lays one down under a folder and returns {part: [(pixels or bytes, label), ...]} in the order expected.
torchvision knows the checksums of the real files; of the tiny ones they are put in their place.
"""

import csv
import hashlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets as known
from PIL import Image
from scipy.io import savemat

from tests.cyclip_model.sets.laid import picture

Pictures = dict[str, list[tuple[Any, int]]]
Patch = pytest.MonkeyPatch
NUMBERS = {"train": (1, 2, 3), "test": (4, 5)}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324  # what torchvision compares


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def pixels(number: int, side: int, *, grey: bool = False) -> np.ndarray:
    shape = (side, side) if grey else (side, side, 3)
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


def arrays(side: int, *, grey: bool = False) -> Pictures:
    return {part: [(pixels(n, side, grey=grey), n % 2) for n in of] for part, of in NUMBERS.items()}


def found(*parts: str, suffix: str = "JPEG") -> Pictures:
    return {part: [(picture(8 * n, suffix), n % 2) for n in NUMBERS[part]] for part in parts or tuple(NUMBERS)}


def cifar(root: Path, patch: Patch, *, name: str, key: str, names: list[str], train: list[str], test: str) -> Pictures:
    made, of = arrays(32), getattr(known, name)
    batches = {test: made["test"], **{batch: made["train"][n : n + 1] for n, batch in enumerate(train)}}
    for batch, rows in batches.items():
        data = np.array([image.transpose(2, 0, 1).ravel() for image, _ in rows], dtype=np.uint8).reshape(-1, 3072)
        content = {"data": data, key: [label for _, label in rows]}
        write(root / of.base_folder / batch, pickle.dumps(content))
    meta = write(root / of.base_folder / of.meta["filename"], pickle.dumps({of.meta["key"]: names}))
    folder = root / of.base_folder
    patch.setattr(of, "train_list", [[batch, md5(folder / batch)] for batch in train])
    patch.setattr(of, "test_list", [[test, md5(folder / test)]])
    patch.setattr(of, "meta", {**of.meta, "md5": md5(meta)})
    return made


def cifar10(root: Path, patch: Patch) -> Pictures:
    batches = [f"data_batch_{number}" for number in (1, 2, 3)]
    return cifar(root, patch, name="CIFAR10", key="labels", names=["cat", "big_dog"], train=batches, test="test_batch")


def cifar100(root: Path, patch: Patch) -> Pictures:
    names = ["lawn_mower", "aquarium_fish"]
    made = cifar(root, patch, name="CIFAR100", key="fine_labels", names=names, train=["train"], test="test")
    return {**made, "train": made["train"][:1]}  # the one batch holds one picture


def mnist(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001  # torchvision compares no checksum of these
    made = arrays(28, grey=True)
    for part, prefix in (("train", "train"), ("test", "t10k")):
        images = np.stack([image for image, _ in made[part]])
        head = b"".join(number.to_bytes(4, "big") for number in (0x803, *images.shape))
        labels = bytes(label for _, label in made[part])
        write(root / f"MNIST/raw/{prefix}-images-idx3-ubyte", head + images.tobytes())
        write(
            root / f"MNIST/raw/{prefix}-labels-idx1-ubyte",
            (0x801).to_bytes(4, "big") + len(labels).to_bytes(4, "big") + labels,
        )
    return made


def stl10(root: Path, patch: Patch) -> Pictures:
    made, folder = arrays(96), root / "stl10_binary"
    for part in NUMBERS:
        write(folder / f"{part}_X.bin", b"".join(image.transpose(2, 1, 0).tobytes() for image, _ in made[part]))
        write(folder / f"{part}_y.bin", bytes(label + 1 for _, label in made[part]))
    write(folder / "class_names.txt", "bird\ncar\n")
    lists = {part: [[f"{part}_{x}.bin", md5(folder / f"{part}_{x}.bin")] for x in "Xy"] for part in NUMBERS}
    patch.setattr(known.STL10, "train_list", lists["train"])
    patch.setattr(known.STL10, "test_list", lists["test"])
    return made


def svhn(root: Path, patch: Patch) -> Pictures:
    made, root_of = arrays(32), dict(known.SVHN.split_list)
    for part in NUMBERS:
        path = root / f"{part}_32x32.mat"
        path.parent.mkdir(exist_ok=True)
        data = np.stack([image for image, _ in made[part]], axis=-1)
        savemat(path, {"X": data, "y": np.array([[label or 10] for _, label in made[part]], dtype=np.uint8)})
        root_of[part] = ["", path.name, md5(path)]
    patch.setattr(known.SVHN, "split_list", root_of)
    return made


def fer2013(root: Path, patch: Patch) -> Pictures:
    made, target = arrays(48, grey=True), io.StringIO()
    table = csv.writer(target)
    table.writerow(["emotion", "pixels", "Usage"])
    for part, usage in (("train", "Training"), ("test", "PublicTest")):
        for image, label in made[part]:
            table.writerow([label, " ".join(map(str, image.ravel())), usage])
    path = write(root / "fer2013/fer2013.csv", target.getvalue())
    patch.setattr(known.FER2013, "_RESOURCES", {**known.FER2013._RESOURCES, "fer": (path.name, md5(path))})
    return made


def pcam(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001  # torchvision compares no checksum of these
    import h5py

    made = arrays(96)
    (root / "pcam").mkdir(parents=True)
    for split, rows in (("train", made["train"][:2]), ("val", made["train"][2:]), ("test", made["test"])):
        names = known.PCAM._FILES[split]
        with h5py.File(root / "pcam" / names["images"][0], "w") as file:
            file["x"] = np.stack([image for image, _ in rows])
        with h5py.File(root / "pcam" / names["targets"][0], "w") as file:
            file["y"] = np.array([label for _, label in rows], dtype=np.uint8).reshape(-1, 1, 1, 1)
    return made


def food101(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001
    made = {part: sorted(rows, key=lambda row: row[1]) for part, rows in found().items()}
    for part in NUMBERS:
        paths: dict[str, list[str]] = {"apple_pie": [], "waffles": []}
        for number, (image, label) in enumerate(made[part]):
            place = f"{list(paths)[label]}/{part}{number}"
            paths[list(paths)[label]].append(place)
            write(root / f"food-101/images/{place}.jpg", image)
        write(root / f"food-101/meta/{part}.json", json.dumps(paths))
    return made


def gtsrb(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001
    made = {part: [(pixels(n, 9), n % 2) for n in of] for part, of in NUMBERS.items()}
    made["train"].sort(key=lambda row: row[1])
    lines = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for part, rows in made.items():
        for number, (image, label) in enumerate(rows):
            folder = f"Training/{label:05d}" if part == "train" else "Final_Test/Images"
            target = io.BytesIO()
            Image.fromarray(image).save(target, "PPM")
            write(root / f"gtsrb/GTSRB/{folder}/{number:05d}.ppm", target.getvalue())
            lines += [f"{number:05d}.ppm;9;9;0;0;9;9;{label}"] if part == "test" else []
    write(root / "gtsrb/GT-final_test.csv", "\n".join(lines))
    return made


def dtd(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001
    of = {
        split: [(picture(40 * place + 8 * label, "JPEG"), label) for label in (0, 1)]
        for place, split in enumerate(("train", "val", "test"))
    }
    for split, rows in of.items():
        lines = [f"{('banded', 'dotted')[label]}/{split}{number}.jpg" for number, (_, label) in enumerate(rows)]
        for line, (image, _) in zip(lines, rows, strict=True):
            write(root / "dtd/dtd/images" / line, image)
        write(root / f"dtd/dtd/labels/{split}1.txt", "".join(f"{line}\n" for line in lines))
    return {"train": of["train"] + of["val"], "test": of["test"]}


def eurosat(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001
    made = found()
    rows = sorted(made["train"] + made["test"], key=lambda row: row[1])
    for number, (image, label) in enumerate(rows):
        write(root / f"eurosat/2750/{('AnnualCrop', 'Forest')[label]}/x_{number}.jpg", image)
    return {"test": rows}


def caltech101(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001
    rows = [(picture(8 * label + 80 * number, "JPEG"), label) for label in (0, 1) for number in (0, 1, 2)]
    write(root / "caltech101/101_ObjectCategories/BACKGROUND_Google/image_0001.jpg", picture(200, "JPEG"))
    for number, (image, label) in enumerate(rows):
        folder = root / "caltech101/101_ObjectCategories" / ("Faces_easy", "accordion")[label]
        write(folder / f"image_{number % 3 + 1:04d}.jpg", image)
    return {"test": rows}


FORMS: dict[str, Callable[[Path, Patch], Pictures]] = {
    "CIFAR10": cifar10,
    "CIFAR100": cifar100,
    "MNIST": mnist,
    "STL10": stl10,
    "SVHN": svhn,
    "FER2013": fer2013,
    "PCAM": pcam,
    "Food101": food101,
    "GTSRB": gtsrb,
    "DTD": dtd,
    "EuroSAT": eurosat,
    "Caltech101": caltech101,
}
