"""The scores a URL list gives its pairs, as one canonical JSON text a pair: {name: number}, keys sorted, no spaces."""

import json
import math
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

TAGS = {"UNLIKELY": 0.0, "UNSURE": 1.0, "NSFW": 2.0}
"""LAION-400M's safety tags as a scale."""


def as_json(scores: Mapping[str, pa.Array], num_rows: int) -> pa.StringArray:
    """Returns the given scores of each row as JSON, null where a row brings none.

    A number is spelled as short as its own type allows (float32 0.28 is 0.28, not 0.2800000011920929).

    Args:
        scores: numbers by name (float or int; what is null or not finite is left out), num_rows long each.
    """
    null = pa.scalar(None, pa.string())
    if not scores:
        return pa.nulls(num_rows, pa.string())
    members = pc.utf8_rtrim(pc.binary_join_element_wise(*(_member(n, scores[n]) for n in sorted(scores)), ""), ",")
    return pc.if_else(pc.equal(members, ""), null, pc.binary_join_element_wise("{", members, "}", ""))


def as_numbers(column: pa.Array | Sequence[object]) -> pa.Array:
    """Returns a list's column as numbers, null where it holds none.

    True is 1, a list counts as its length (face boxes), text is read as a number or as one of TAGS.
    """
    if not isinstance(column, pa.Array):
        return pa.array([_number(value) for value in column], pa.float64())
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pc.list_value_length(column)
    if pa.types.is_boolean(kind):
        return column.cast(pa.int8())
    if pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return column
    return as_numbers(column.to_pylist())


def _member(name: str, numbers: pa.Array) -> pa.Array:
    """Returns `"name":number,` of each row, or nothing; joining with null_handling="skip" would lose rows of nulls."""
    if pa.types.is_floating(numbers.type):
        numbers = pc.if_else(pc.is_finite(numbers), numbers, pa.scalar(None, numbers.type))
    return pc.binary_join_element_wise(json.dumps(name) + ":", numbers.cast(pa.string()), ",", "").fill_null("")


def _number(value: object) -> float | None:
    if isinstance(value, str):
        value = value.strip()
        value = TAGS.get(value, value)
    elif isinstance(value, list):
        value = len(value)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
