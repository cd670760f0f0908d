"""More of torchvision's forms: sets of photographs with lists of their own, two classes each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torchvision.datasets as known
from scipy.io import savemat

from tests.cyclip_model.sets.laid import picture
from tests.cyclip_model.sets.torchvision_forms import Patch, Pictures, found, md5, write


def by_class(*splits: str) -> dict[str, list[tuple[bytes, int]]]:
    """A picture of each class a split, no two alike."""
    return {
        split: [(picture(30 * place + 10 * label, "JPEG"), label) for label in (0, 1)]
        for place, split in enumerate(splits)
    }


def fgvc_aircraft(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001
    made, folder, names = found(), root / "fgvc-aircraft-2013b/data", ("707-320", "A340 (long)")
    write(folder / "variants.txt", "".join(f"{name}\n" for name in names))
    for part, split in (("train", "trainval"), ("test", "test")):
        lines = [f"{split}{number} {names[label]}" for number, (_, label) in enumerate(made[part])]
        write(folder / f"images_variant_{split}.txt", "\n".join(lines))
        for line, (image, _) in zip(lines, made[part], strict=True):
            write(folder / f"images/{line.split()[0]}.jpg", image)
    return made


def flowers102(root: Path, patch: Patch) -> Pictures:
    of, folder = by_class("train", "val", "test"), root / "flowers-102"
    rows = [row for split in of.values() for row in split]
    for number, (image, _) in enumerate(rows, start=1):
        write(folder / f"jpg/image_{number:05d}.jpg", image)
    savemat(folder / "imagelabels.mat", {"labels": np.array([label + 1 for _, label in rows])})
    savemat(folder / "setid.mat", {"trnid": np.array([1, 2]), "valid": np.array([3, 4]), "tstid": np.array([5, 6])})
    names = {"label": "imagelabels.mat", "setid": "setid.mat"}
    sums = {key: (name, md5(folder / name)) for key, name in names.items()}
    patch.setattr(known.Flowers102, "_file_dict", {**known.Flowers102._file_dict, **sums})
    return {"train": of["train"] + of["val"], "test": of["test"]}


def pets(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001
    of, folder = by_class("trainval", "test"), root / "oxford-iiit-pet"
    for split, rows in of.items():
        names = [f"{('Abyssinian', 'basset_hound')[label]}_{split}" for _, label in rows]
        lines = [f"{name} {label + 1} {label + 1} 1" for name, (_, label) in zip(names, rows, strict=True)]
        write(folder / f"annotations/{split}.txt", "\n".join(lines))
        for name, (image, _) in zip(names, rows, strict=True):
            write(folder / f"images/{name}.jpg", image)
    return {"train": of["trainval"], "test": of["test"]}


def rendered_sst2(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001
    of = {"train": [(picture(n), n) for n in (0, 1)], "test": [(picture(80 + n), n) for n in (0, 1)]}
    for split, rows in of.items():
        for image, label in rows:
            write(root / f"rendered-sst2/{split}/{('negative', 'positive')[label]}/0.png", image)
    return {part: list(rows) for part, rows in of.items()}


def stanford_cars(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001
    made, folder = found(), root / "stanford_cars"
    lists = {"train": folder / "devkit/cars_train_annos.mat", "test": folder / "cars_test_annos_withlabels.mat"}
    for part, path in lists.items():
        names = [f"{number:05d}.jpg" for number in range(len(made[part]))]
        fields: list[tuple[str, Any]] = [("fname", "O"), ("class", np.uint8)]
        rows = [(name, label + 1) for name, (_, label) in zip(names, made[part], strict=True)]
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {"annotations": np.array(rows, dtype=fields)})
        for name, (image, _) in zip(names, made[part], strict=True):
            write(folder / f"cars_{part}/{name}", image)
    savemat(folder / "devkit/cars_meta.mat", {"class_names": np.array(["Acura RL 2012", "BMW X3 2012"], dtype=object)})
    return made


def sun397(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001
    rows = by_class("test")["test"]
    write(root / "SUN397/ClassName.txt", "/a/abbey\n/b/bakery/shop\n")
    for name, (image, _) in zip(("a/abbey/sun_x.jpg", "b/bakery/shop/sun_a.jpg"), rows, strict=True):
        write(root / "SUN397" / name, image)
    return {"test": list(rows)}


def country211(root: Path, patch: Patch) -> Pictures:  # noqa: ARG001
    of = by_class("train", "valid", "test")
    for split, rows in of.items():
        for image, label in rows:
            write(root / f"country211/{split}/{('AD', 'AE')[label]}/1.jpg", image)
    return {"train": of["train"] + of["valid"], "test": list(of["test"])}


PHOTOS: dict[str, Callable[[Path, Patch], Pictures]] = {
    "FGVCAircraft": fgvc_aircraft,
    "Flowers102": flowers102,
    "OxfordIIITPet": pets,
    "RenderedSST2": rendered_sst2,
    "StanfordCars": stanford_cars,
    "SUN397": sun397,
    "Country211": country211,
}
