"""Given scores become one JSON text a row: numbers only, shortest spelling, keys sorted."""

import json
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given as given_by_hypothesis
from hypothesis import strategies as st

from pipelines.lists import given


def test_a_row_of_each_kind() -> None:
    scores = {"similarity": pa.array([0.28, None, math.nan], pa.float32()), "faces": pa.array([2, None, 0])}
    assert given.as_json(scores, 3).to_pylist() == ['{"faces":2,"similarity":0.28}', None, '{"faces":0}']
    assert given.as_json({}, 2).to_pylist() == [None, None]
    assert given.as_json({"a": pa.array([], pa.float64())}, 0).to_pylist() == []


@pytest.mark.parametrize(
    ("column", "numbers"),
    [
        (pa.array([1, None], pa.int32()), [1, None]),
        (pa.array([True, False]), [1, 0]),
        (pa.array([np.float16(0.5), None], pa.float16()), [0.5, None]),
        (pa.array([Decimal("0.5")]), [0.5]),
        (pa.array([[[0.0, 0.1, 0.2, 0.3]], [], None], pa.list_(pa.list_(pa.float64()))), [1, 0, None]),
        (pa.array(["0.5", " 7 ", "x", "", None, "nan", "inf"]), [0.5, 7, None, None, None, None, None]),
        (pa.array(["UNLIKELY", "UNSURE", "NSFW", "NULL"]).dictionary_encode(), [0, 1, 2, None]),
        (pa.array([{"a": 1}]), [None]),
        ([1, 2.5, True, "3", [[1], [2]], {}, None, math.inf, 10**400, "1e400"], [1, 2.5, 1, 3, 2] + [None] * 5),
    ],
)
def test_numbers_of_any_column(column: pa.Array | list[object], numbers: list[float | None]) -> None:
    assert given.as_numbers(column).to_pylist() == numbers


@given_by_hypothesis(st.lists(st.floats() | st.none(), max_size=20), st.sampled_from([32, 64]))
def test_what_is_read_back_is_the_number(values: list[float | None], width: int) -> None:
    kind = pa.float32() if width == 32 else pa.float64()
    column = pa.array(values, pa.float64()).cast(kind, safe=False)
    for text, value in zip(given.as_json({"a": column}, len(values)).to_pylist(), column.to_pylist(), strict=True):
        if value is None or not math.isfinite(value):
            assert text is None
        else:
            assert pa.array([json.loads(text)["a"]], pa.float64()).cast(kind)[0].as_py() == value
