"""params.yaml as typed, strict configuration: the YAML is the only place a number lives."""

import dataclasses
import math
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

T = TypeVar("T")

PARAMS = Path("params.yaml")
NAME_PATTERN = re.compile(r"^[a-z][a-z0-9_]{0,30}$")
"""Snapshot, objective and set names: they are interpolated into commands that reach a shell."""

SECTIONS = frozenset(
    "snapshots objectives seeds sets runner loader losses source download measure screen scorer embed select pack "
    "dataset index benchmarks train evaluate compare trail audit root".split()
)
"""Every top-level key params.yaml may have; `root` is a bucket deployment's (deploy/s3)."""


def check_name(name: object, what: str = "name") -> str:
    """Returns `name` unchanged.

    Raises:
        ValueError: if it is not lower-case letters, digits and `_`, starting with a letter, at most 31 long.
    """
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise ValueError(f"{what} {name!r} is not allowed: use a-z, 0-9 and _, a letter first, at most 31 characters")
    return name


def parse_yaml(text: str | bytes) -> Any:
    """Returns YAML text as plain data, by the rules of YAML 1.2, as DVC reads it: 1e-6 is a number, `no` is a word.

    Raises:
        YAMLError: if it is not YAML.
    """
    return YAML(typ="safe", pure=True).load(text)


def read(path: Path | str = PARAMS) -> dict[str, Any]:
    """Returns the whole params file as a mapping; unknown top-level keys are refused.

    Raises:
        ValueError: if the file is missing, is not YAML, or has a top-level key nobody reads.
    """
    try:
        content = parse_yaml(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; run from the root of the project") from None
    except YAMLError as error:
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping of sections")
    unknown = sorted(str(key) for key in set(content) - SECTIONS)
    if unknown:
        raise ValueError(f"{path}: unknown key {unknown[0]}; known keys: {', '.join(sorted(SECTIONS))}")
    return content


def load(section: str, cls: type[T], path: Path | str = PARAMS) -> T:
    """Returns the dataclass `cls` filled from a section of the params file.

    Args:
        section: name of the section; dots descend (`losses.clip`).
        cls: a dataclass without defaults; nested dataclasses, `list[X]`, `dict[str, X]`, `Literal` and `X | None`
            are checked all the way down.

    Raises:
        ValueError: for an unknown key, a missing key, a wrong type or a value out of range, naming the full key.
    """
    return build(cls, _lookup(read(path), section, path), section, path)


def section(name: str, path: Path | str = PARAMS) -> dict[str, Any]:
    """Returns a section of the params file as it stands there, unchecked; dots descend.

    Raises:
        ValueError: if it is missing or no mapping.
    """
    found = _lookup(read(path), name, path)
    if not isinstance(found, Mapping):
        raise ValueError(f"{path}: {name} must be a mapping, not {found!r}")
    return dict(found)


def names(key: str, path: Path | str = PARAMS) -> list[str]:
    """Returns a top-level list of names (`snapshots`, `objectives`, `sets`), each checked, no name twice."""
    found = [check_name(name, f"{path}: {key}:") for name in _list(key, path)]
    if len(set(found)) != len(found):
        raise ValueError(f"{path}: {key} lists a name twice")
    return found


def seeds(path: Path | str = PARAMS) -> list[int]:
    """Returns the top-level list of training seeds, each an integer >= 0."""
    found = _list("seeds", path)
    if not all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in found):
        raise ValueError(f"{path}: seeds must be a list of integers >= 0, not {found!r}")
    return found


def _list(key: str, path: Path | str) -> list[Any]:
    found = _lookup(read(path), key, path)
    if not isinstance(found, list):
        raise ValueError(f"{path}: {key} must be a list, not {found!r}")
    return found


def _lookup(content: Any, section: str, path: Path | str) -> Any:
    for depth, part in enumerate(section.split(".")):
        if not isinstance(content, Mapping) or part not in content:
            raise ValueError(f"{path}: {'.'.join(section.split('.')[: depth + 1])} is missing")
        content = content[part]
    return content


def build(cls: type[T], content: Any, key: str, path: Path | str) -> T:
    """Returns a mapping as a config dataclass: every field there and nothing else, each of its type.

    Args:
        cls: the dataclass.
        content: what stands in the file.
        key: where it stands, for errors.
        path: the file, for errors.

    Raises:
        ValueError: naming the file and the key.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: {key} must be a mapping, not {content!r}")
    hints = get_type_hints(cls)
    fields = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in content:
        if name not in fields:
            raise ValueError(f"{path}: unknown key {key}.{name}; known: {', '.join(fields) or 'none'}")
    for name in fields:
        if name not in content:
            raise ValueError(f"{path}: {key}.{name} is missing")
    values = {name: _convert(hints[name], content[name], f"{key}.{name}", path) for name in fields}
    try:
        return cls(**values)
    except ValueError as error:  # a range check in __post_init__: say where the number stands
        raise ValueError(f"{path}: {key}: {error}") from None


def _convert(hint: Any, value: Any, key: str, path: Path | str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, key, path)
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, key, path)
    if origin is Literal:
        return _check(value in args, f"one of {', '.join(map(str, args))}", value, key, path)
    if origin is list:
        _check(isinstance(value, list), "a list", value, key, path)
        return [_convert(args[0], item, f"{key}[{index}]", path) for index, item in enumerate(value)]
    if origin is dict:
        _check(isinstance(value, Mapping), "a mapping", value, key, path)
        return {name: _convert(args[1], item, f"{key}.{name}", path) for name, item in value.items()}
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _check(math.isfinite(value), "a finite number", float(value), key, path)
    matches = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    return _check(matches, _TYPE_NAMES.get(hint, str(hint)), value, key, path)


def _convert_union(args: tuple[Any, ...], value: Any, key: str, path: Path | str) -> Any:
    if value is None and type(None) in args:
        return None
    options = [arg for arg in args if arg is not type(None)]
    assert len(options) == 1, "unions other than `X | None` are not used in params"
    return _convert(options[0], value, key, path)


_TYPE_NAMES = {int: "an integer", float: "a number", str: "text", bool: "true or false"}


def _check(good: bool, wanted: str, value: Any, key: str, path: Path | str) -> Any:
    if not good:
        raise ValueError(f"{path}: {key} must be {wanted}, not {value!r}")
    return value
