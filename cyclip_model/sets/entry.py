"""An evaluation set as it is asked for (set.json with a `family`) and as a family's loader opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cyclip_model.sets.pictures import Row
from lineage import files, params

DESCRIPTION = "set.json"
TRAIN, TEST = "train", "test"
PARTS = (TRAIN, TEST)
SHARED_KEYS = frozenset(
    ("name", "family", "sources", "path", "download", "parts", "templates", "max_pixels", "shift_of", "how")
)
"""What a set.json of any family may say; beside it, the keys of its family."""

_TEXT, _INT = pa.string(), pa.int64()
_PICTURE = [("uid", _TEXT), ("image", pa.binary())]
_SIZE = [("width", _INT), ("height", _INT)]
SCHEMAS: Mapping[str, pa.Schema] = {
    "classification": pa.schema([*_PICTURE, ("label", _INT), *_SIZE]),
    "retrieval": pa.schema([*_PICTURE, ("captions", pa.list_(_TEXT)), *_SIZE]),
    "winoground": pa.schema([*_PICTURE, ("example", _INT), ("side", _INT), ("caption", _TEXT), ("tag", _TEXT), *_SIZE]),
    "sts": pa.schema([("sentence_1", _TEXT), ("sentence_2", _TEXT), ("score", pa.float64())]),
    "sentences": pa.schema([("sentence", _TEXT), ("label", _INT)]),
}
"""The columns of a part, by the set's kind. The uid is the first 32 hex digits of the picture's sha256."""


class AbsentError(Exception):
    """The set is not here, in whole: nothing is broken. Its arguments say why, and how to get it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A set.json with a family, checked."""

    source: Path
    """The folder that set.json lies in."""
    folder: Path
    """Where the set's own files lie: `path` of set.json, or the folder of set.json itself."""
    family: str
    sources: list[Any]
    download: bool
    parts: tuple[str, ...] | None
    """The parts wanted; all that the set has where set.json does not say."""
    templates: list[str] | str
    """Texts with one {}, or "imagenet" (the 80 of ImageNet), or "own" (the set's)."""
    max_pixels: int | None
    shift_of: str | None
    how: str | None
    options: Mapping[str, Any]
    """What set.json says beside the shared keys."""

    @property
    def name(self) -> str:
        """The set's name, which is its folder's."""
        return self.source.name

    def wants(self, part: str) -> bool:
        """Whether the part is asked for."""
        return self.parts is None or part in self.parts

    def option(self, key: str, default: Any = None) -> Any:
        """A key of the family.

        Raises:
            ValueError: it is not there and has no default, or is of another type than the default.
        """
        found = self.options.get(key, default)
        if found is None:
            raise ValueError(f"{self.source / DESCRIPTION}: {key} is missing: family {self.family} needs it")
        if default is not None and not isinstance(found, type(default)):
            raise ValueError(f"{self.source / DESCRIPTION}: {key} must be a {type(default).__name__}, not {found!r}")
        return found

    def require(self, how: str) -> None:
        """Raises AbsentError when the set's folder is not there, or holds nothing but set.json."""
        if not self.folder.is_dir():
            raise AbsentError(f"{self.folder} is not there", self.how or how)
        if self.folder == self.source and all(child.name == DESCRIPTION for child in self.folder.iterdir()):
            raise AbsentError(f"{self.folder} holds nothing but {DESCRIPTION}", self.how or how)


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A set that is here: what set.json of the benchmark will say of it, and its rows, which are read as they go."""

    kind: str
    parts: Mapping[str, Callable[[], Iterator[Row]]]
    """Of each part a function that starts reading; rows hold the kind's columns but uid, width and height."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    """Where names and templates come from, beside the entry's own sources."""


def has_family(source: Path) -> bool:
    """Whether set.json names a family: without one it is the emoji suite's."""
    path = source / DESCRIPTION
    content = files.read_json(path) if path.is_file() else {}
    return isinstance(content, dict) and "family" in content


def read(source: Path, families: Mapping[str, frozenset[str]]) -> Entry:
    """The set.json in source.

    Args:
        source: its folder.
        families: the keys that each family has of its own.

    Raises:
        ValueError: a key is missing, unknown or wrong; names file and key.
    """
    path = source / DESCRIPTION
    content = files.read_json(path)
    for key in ("name", "sources"):
        if key not in content:
            raise ValueError(f"{path}: {key} is missing")
    family = content["family"]
    if family not in families:
        raise ValueError(f"{path}: family {family!r} is none of {', '.join(sorted(families))}")
    if unknown := sorted(set(content) - SHARED_KEYS - families[family]):
        raise ValueError(f"{path}: unknown key {unknown[0]}; family {family} has {', '.join(sorted(families[family]))}")
    if params.check_name(content["name"], f"{path}: name") != source.name:
        raise ValueError(f"{path}: name is {content['name']!r}, but the folder is {source.name!r}")
    download = _typed(path, content, "download", bool, default=False)
    if download and "path" not in content:
        raise ValueError(f"{path}: download needs a path: nothing is fetched into {source}, which DVC tracks")
    if (max_pixels := _typed(path, content, "max_pixels", int)) is not None and max_pixels < 1:
        raise ValueError(f"{path}: max_pixels must be at least 1")
    given = _typed(path, content, "path", str)
    return Entry(
        source=source,
        folder=Path(given) if given else source,
        family=family,
        sources=_typed(path, content, "sources", list),
        download=download,
        parts=_parts(path, content),
        templates=_templates(path, content),
        max_pixels=max_pixels,
        shift_of=_typed(path, content, "shift_of", str),
        how=_typed(path, content, "how", str),
        options={key: content[key] for key in families[family] & set(content)},
    )


def _typed(path: Path, content: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
    found = content.get(key, default)
    if found is not None and type(found) is not kind:
        raise ValueError(f"{path}: {key} must be a {kind.__name__}, not {found!r}")
    return found


def _parts(path: Path, content: Mapping[str, Any]) -> tuple[str, ...] | None:
    found = _typed(path, content, "parts", list)
    if found is not None and (TEST not in found or not set(found) <= set(PARTS)):
        raise ValueError(f'{path}: parts must be ["test"] or ["train", "test"], not {found!r}')
    return tuple(found) if found is not None else None


def _templates(path: Path, content: Mapping[str, Any]) -> list[str] | str:
    found = content.get("templates", "own")
    if found in ("own", "imagenet"):
        return str(found)
    if not isinstance(found, list) or not found or not all(str(text).count("{}") == 1 for text in found):
        raise ValueError(f'{path}: templates must be "own", "imagenet" or a list of texts with one {{}} each')
    return [str(text) for text in found]
