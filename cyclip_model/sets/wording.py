"""Names and prompts that open_clip and CLIP_benchmark publish for the usual sets, and CIFAR-100's superclasses."""

import functools
import importlib.resources
import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

CLASSNAMES = "en_classnames.json"
TEMPLATES = "en_zeroshot_classification_templates.json"
PLAIN = ("a photo of a {}.",)

CIFAR100_SUPERCLASSES = {
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
"""The 20 superclasses of CIFAR-100 with their five classes each, as the set's page lists them (Krizhevsky 2009)."""


def superclasses(classnames: list[str]) -> dict[str, Any]:
    """{names: [S], of: [C]} for CIFAR-100's class names, spelt with `_` or with spaces.

    Raises:
        ValueError: a name is not one of CIFAR-100's.
    """
    names = list(CIFAR100_SUPERCLASSES)
    number = {name: place for place, of in enumerate(names) for name in CIFAR100_SUPERCLASSES[of].split()}
    spelt = [name.replace(" ", "_") for name in classnames]
    if strange := [name for name in spelt if name not in number]:
        raise ValueError(f"{strange[0]!r} is not a class of CIFAR-100: it has no superclass there")
    return {"names": names, "of": [number[name] for name in spelt]}


def imagenet_names() -> list[str]:
    """The 1000 class names of ImageNet in the order of their numbers."""
    from open_clip import zero_shot_metadata

    return list(zero_shot_metadata.IMAGENET_CLASSNAMES)


def imagenet_templates() -> list[str]:
    """The 80 templates of ImageNet, each with one {}."""
    from open_clip import zero_shot_metadata

    return [template("{}") for template in zero_shot_metadata.OPENAI_IMAGENET_TEMPLATES]


@functools.cache
def wnids(subset: str = "all") -> tuple[str, ...]:
    """The WordNet ids of ImageNet's 1000 classes in the order of their numbers, or of the 200 of its shifts a and r."""
    name = "imagenet_synsets.txt" if subset == "all" else f"imagenet_{subset}_synsets.txt"
    path = importlib.resources.files("timm").joinpath("data", "_info", name)
    return tuple(path.read_text(encoding="utf-8").split())


def classnames(key: str) -> list[str]:
    """The names that CLIP_benchmark has for a set.

    Raises:
        ValueError: it has none of that key.
    """
    return [str(name) for name in _packaged(CLASSNAMES, key)]


def templates(key: str) -> list[str]:
    """The templates that CLIP_benchmark has for a set, each with one {}.

    Raises:
        ValueError: it has none of that key.
    """
    return [braced(line) for line in _packaged(TEMPLATES, key)]


def braced(line: str) -> str:
    """A template of CLIP_benchmark, whose place for the name is {c}, with {} there."""
    return line.replace("{c}", "{}")


def _packaged(file: str, key: str) -> list[str]:
    found = json.loads(
        importlib.resources.files("clip_benchmark").joinpath("datasets", file).read_text(encoding="utf-8")
    )
    if key not in found:
        raise ValueError(f"clip_benchmark's {file} has no {key!r}; it has {', '.join(sorted(found))}")
    return list(found[key])


def described(
    classnames: list[str],
    templates: list[str],
    shift_of: str | None = None,
    parent_classes: list[int] | None = None,
) -> dict[str, Any]:
    """What set.json of a benchmark says of a set with classes."""
    shared = {"classnames": classnames, "templates": templates, "superclasses": None}
    return {**shared, "shift_of": shift_of, "parent_classes": parent_classes}


def chosen(wanted: list[str] | str, own: Callable[[], list[str]]) -> tuple[list[str], tuple[str, ...]]:
    """The templates that a set.json chooses, and their source where it is not the set itself."""
    if wanted == "imagenet":
        return imagenet_templates(), (f"templates: open_clip {version('open_clip_torch')}, zero_shot_metadata",)
    return (own(), ()) if wanted == "own" else (list(wanted), ())
