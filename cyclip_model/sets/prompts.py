"""Published class names and prompt templates, read where they are packaged: open_clip and clip-benchmark."""

import importlib.metadata
import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

CIFAR100_SUPERCLASSES: dict[str, str] = {
    "aquatic mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food containers": "bottle bowl can cup plate",
    "fruit and vegetables": "apple mushroom orange pear sweet_pepper",
    "household electrical devices": "clock keyboard lamp telephone television",
    "household furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large carnivores": "bear leopard lion tiger wolf",
    "large man-made outdoor things": "bridge castle house road skyscraper",
    "large natural outdoor scenes": "cloud forest mountain plain sea",
    "large omnivores and herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium-sized mammals": "fox porcupine possum raccoon skunk",
    "non-insect invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles 1": "bicycle bus motorcycle pickup_truck train",
    "vehicles 2": "lawn_mower rocket streetcar tank tractor",
}
"""Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009): five classes each."""


def cifar100_superclasses(classnames: list[str]) -> dict[str, Any]:
    """Returns {names, of} for the 100 classes as CIFAR-100 spells them.

    Raises:
        ValueError: a class is in no superclass, naming it.
    """
    number = {name: place for place, of in enumerate(CIFAR100_SUPERCLASSES.values()) for name in of.split()}
    for name in classnames:
        if name not in number:
            raise ValueError(f"CIFAR-100 has no class {name!r}: the set's meta file is another one's")
    return {"names": list(CIFAR100_SUPERCLASSES), "of": [number[name] for name in classnames]}


def imagenet_names() -> list[str]:
    """Returns the 1000 class names CLIP's authors chose, by ImageNet's label."""
    from open_clip import zero_shot_metadata  # late: 9 s

    return list(zero_shot_metadata.IMAGENET_CLASSNAMES)


def imagenet_templates() -> list[str]:
    """Returns the 80 templates of CLIP, with {} for the class."""
    from open_clip import zero_shot_metadata  # late: 9 s

    return [template("{}") for template in zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES]


@lru_cache(maxsize=1)
def imagenet_wnids() -> list[str]:
    """Returns ImageNet-1k's 1000 WordNet ids by label: sorted, as timm packages them."""
    found = _package_folder("timm") / "data/_info/imagenet_synsets.txt"
    return found.read_text(encoding="utf-8").split()


def packaged_names(key: str) -> list[str]:
    """Returns class names that clip-benchmark packages."""
    return list(_packaged("en_classnames.json")[key])


def packaged_templates(key: str) -> list[str]:
    """Returns templates that clip-benchmark packages, with {} for the class."""
    return [text.replace("{c}", "{}") for text in _packaged("en_zeroshot_classification_templates.json")[key]]


def source_of(distribution: str, what: str) -> dict[str, Any]:
    """Returns an entry of a set's sources for words out of a Python package."""
    facts = importlib.metadata.metadata(distribution)
    licence = {"clip-benchmark": "MIT", "open-clip-torch": "MIT", "timm": "Apache-2.0"}[distribution]
    return {"name": f"{what} of {distribution}", "version": facts["Version"], "licence": licence}


def _packaged(name: str) -> Any:
    path = _package_folder("clip_benchmark") / "datasets" / name
    return json.loads(path.read_text(encoding="utf-8"))


def _package_folder(package: str) -> Path:
    """Returns where a package lies, without importing it: both import half of the world."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"the package {package} is not installed: `pip install -r requirements.lock`")
    return Path(spec.origin).parent
