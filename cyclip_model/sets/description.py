"""What a set.json with a family says, and what a loader makes of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cyclip_model.sets.pictures import Row
from lineage import files, params

DESCRIPTION = "set.json"
TRAIN, TEST = "train", "test"


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """A set.json; every key but name, family and sources has a value that DEFAULTS names."""

    name: str
    family: str
    sources: list[dict[str, Any]]
    path: str | None
    """The folder the data lie in, absolute or from the root of the project; null: beside set.json."""
    download: bool
    """Whether the family's own library may fetch the data into path."""
    how: str | None
    """How to get the data, for whoever lacks them; null: what the family says."""
    parts: list[str] | None
    """Of train and test; null: all that the set has."""
    max_pixels: int | None
    """Pictures that declare more are not decoded; null: benchmarks.max_pixels."""
    templates: Any
    """Texts with one {} each; or own: the set's published ones; or imagenet: the 80 of CLIP."""
    classnames: list[str] | None
    """By label; null: the published ones."""
    superclasses: dict[str, Any] | None
    """{names: [S texts], of: [the superclass's number for each class]}; null: the published ones, if there are."""
    shift_of: str | None
    """The set whose classes these are under another distribution."""
    settings: dict[str, Any]
    """The family's own."""

    def __post_init__(self) -> None:
        params.check_name(self.name)
        if self.max_pixels is not None and self.max_pixels < 1:
            raise ValueError("max_pixels must be at least 1")
        if self.parts is not None and (TEST not in self.parts or set(self.parts) - {TRAIN, TEST}):
            raise ValueError("parts must be [test] or [train, test]")
        if self.download and self.path is None:
            raise ValueError("download needs a path to fetch into: the set's own folder is tracked and must not change")
        is_list = isinstance(self.templates, list) and self.templates
        texts = self.templates if is_list else ["{}"]
        if not is_list and self.templates not in ("own", "imagenet"):
            raise ValueError("templates must be own, imagenet or a list of texts with one {} each")
        if not all(isinstance(text, str) and text.count("{}") == 1 for text in texts):
            raise ValueError("templates must be texts with one {} each")

    def setting(self, key: str, default: Any) -> Any:
        """Returns one of the family's settings."""
        return self.settings.get(key, default)


DEFAULTS: dict[str, Any] = {
    **dict.fromkeys("path how parts max_pixels classnames superclasses shift_of".split()),
    "download": False,
    "templates": "own",
    "settings": {},
}


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A set as its family reads it; a part's rows are made when they are asked for, one by one, in a fixed order.

    Rows lack uid, width and height; those of a classification set are {image, label}, and so on as the kind has it.
    """

    kind: str
    parts: Mapping[str, Callable[[], Iterator[Row]]]
    classnames: list[str] | None = None
    templates: list[str] | None = None
    superclasses: dict[str, Any] | None = None
    parent_classes: list[int] | None = None
    sources: list[dict[str, Any]] = field(default_factory=list)
    """Of class names and templates."""


class AbsentError(Exception):
    """The data of a set are not there, which is no mistake; `how` says how to get them."""

    def __init__(self, why: str, how: str) -> None:
        super().__init__(why)
        self.how = how


def read(source: Path) -> Description:
    """Returns what the set.json of a set with a family says.

    Raises:
        ValueError: a key is unknown, missing or wrong, or the name is not the folder's; names file and key.
    """
    path = source / DESCRIPTION
    described = params.build(Description, {**DEFAULTS, **files.read_json(path)}, "set", path)
    if described.name != source.name:
        raise ValueError(f"{path}: name is {described.name!r}, but the folder is {source.name!r}")
    return described


def folder_of(source: Path, described: Description) -> Path:
    """Returns the folder a set's data lie in."""
    return source if described.path is None else Path(described.path)


def check_settings(described: Description, known: tuple[str, ...]) -> None:
    """Raises ValueError where a setting is none of the family's."""
    for key in described.settings:
        if key not in known:
            named = ", ".join(known) or "none"
            raise ValueError(f"set {described.name}: unknown key settings.{key}; family {described.family} has {named}")


def require(path: Path, folder: Path, how: str) -> Path:
    """Returns a file or folder a set cannot do without.

    Raises:
        AbsentError: nothing of the set is there.
        FileNotFoundError: the set is there in part, naming what is missing.
    """
    if path.exists():
        return path
    is_empty = not folder.is_dir() or all(child.name == DESCRIPTION for child in folder.iterdir())
    if is_empty:
        raise AbsentError(f"nothing is in {folder}", how)
    raise FileNotFoundError(f"{path} is missing, but {folder} has other files: lay the whole set down, or remove it")


def only_picture(folder: Path, name: str, where: str) -> bytes:
    """Returns the bytes of a picture that an annotation names.

    Raises:
        FileNotFoundError: it is not there, naming it and where it is named.
        ValueError: the name leads out of the folder.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{where}: {name!r} leads out of {folder}")
    if not path.is_file():
        raise FileNotFoundError(f"{where}: its picture {path} is missing; lay the whole set down")
    return path.read_bytes()
