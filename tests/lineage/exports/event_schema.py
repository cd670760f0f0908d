"""JSON schemas to hold OpenLineage events against, by jsonschema.

`from_client` makes them of the classes of openlineage-python, which are generated from the published schema: names,
types and required fields are those of the standard, and a property that it does not know is refused. `published` reads
the standard's own files (OpenLineage.json, facets/*.json) from a folder, where one is at hand.
"""

import enum
import functools
import importlib
import json
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attr
import jsonschema
from openlineage.client import generated
from openlineage.client.generated.base import BaseFacet
from referencing import Registry, Resource

Schema = dict[str, Any]
SchemaOf = Callable[[str], jsonschema.Draft202012Validator | None]
"""Gives the validator of a schema's URL, None where there is none."""
_URI = {"pattern": "^[a-z][a-z0-9+.-]*:"}
_FORMATS = {
    "eventTime": {"format": "date-time"},
    "runId": {"format": "uuid"},
    **dict.fromkeys(("producer", "schemaURL", "_producer", "_schemaURL", "url"), _URI),
}


def problems(event: Schema, schema_of: SchemaOf) -> list[str]:
    """Returns what is wrong with an event, and with each of its facets by the schema that the facet itself names."""
    named = [(event, event["schemaURL"]), *((facet, facet["_schemaURL"]) for facet in facets(event))]
    found: list[str] = []
    for content, url in named:
        validator = schema_of(url)
        if validator is None:
            found.append(f"{url}: no such schema")
            continue
        found += [f"{url}: {error.json_path}: {error.message[:200]}" for error in validator.iter_errors(content)]
    return found


def facets(content: Any) -> Iterator[Schema]:
    """Yields every facet of an event."""
    if isinstance(content, dict):
        if "_schemaURL" in content:
            yield content
        for value in content.values():
            yield from facets(value)
    if isinstance(content, list):
        for value in content:
            yield from facets(value)


@functools.cache
def from_client(url: str) -> jsonschema.Draft202012Validator | None:
    """Returns the validator of the client's class that names this URL as its schema, None if no class does."""
    made = _classes().get(url)
    if made is None:
        return None
    schema = {"$ref": f"#/$defs/{_key(made)}", "$defs": _definitions(made, {})}
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def published(folder: Path) -> SchemaOf:
    """Returns a look-up in the files of the standard; a URL's version is not looked at, for a folder has one."""

    def place(url: str) -> Path:
        return folder / re.sub(r"^https://openlineage\.io/spec/(facets/)?[0-9-]+/", r"\1", url.partition("#")[0])

    def retrieve(url: str) -> Any:
        return Resource.from_contents(json.loads(place(url).read_text(encoding="utf-8")))

    registry: Registry[Any] = Registry(retrieve=retrieve)  # type: ignore[call-arg]
    checker = jsonschema.FormatChecker()

    def schema_of(url: str) -> jsonschema.Draft202012Validator | None:
        if not place(url).is_file():
            return None
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": url}
        return jsonschema.Draft202012Validator(schema, registry=registry, format_checker=checker)

    return schema_of


@functools.cache
def _classes() -> dict[str, type]:
    names = [f"{generated.__name__}.{info.name}" for info in pkgutil.iter_modules(generated.__path__)]
    found = [item for name in names for item in vars(importlib.import_module(name)).values()]
    return {item._get_schema(): item for item in found if isinstance(item, type) and hasattr(item, "_get_schema")}


def _definitions(made: type, known: dict[str, Schema]) -> dict[str, Schema]:
    """Returns the schemas of a class and of all it is made of, by their keys; a bare facet is open to any property."""
    hints = typing.get_type_hints(made)
    required = [field.name for field in attr.fields(made) if field.default is attr.NOTHING or field.name in _FORMATS]
    schema: Schema = {"type": "object", "required": required}
    schema["additionalProperties"] = made is BaseFacet or BaseFacet in made.__bases__
    known[_key(made)] = schema
    schema["properties"] = {
        field.name: {**_of_type(hints[field.name], known), **_FORMATS.get(field.name, {})}
        for field in attr.fields(made)
    }
    return known


def _of_type(hint: Any, known: dict[str, Schema]) -> Schema:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _of_type(next(kind for kind in inside if kind is not types.NoneType), known)
    if origin is list:
        return {"type": "array", "items": _of_type(inside[0], known)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of_type(inside[1], known)}
    if issubclass(hint, enum.Enum):
        return {"enum": [item.value for item in hint]}
    if not attr.has(hint):
        return {"type": {str: "string", int: "integer", bool: "boolean", float: "number"}[hint]}
    if _key(hint) not in known:
        _definitions(hint, known)
    return {"$ref": f"#/$defs/{_key(hint)}"}


def _key(made: type) -> str:
    return f"{made.__module__}.{made.__name__}"
