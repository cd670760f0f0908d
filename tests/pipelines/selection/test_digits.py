"""Hex digits as numbers and back."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.selection import digits

HEX = st.text("0123456789abcdef", min_size=32, max_size=40)


def test_words_are_the_numbers_the_digits_spell() -> None:
    text = pa.array(["00000000000000ff" + "8000000000000001", None])
    assert digits.words(text, 2).tolist() == [[0xFF, 0x8000000000000001], [0, 0]]
    assert digits.words(text, 1).tolist() == [[0xFF], [0]]
    assert digits.words(pa.array([], pa.string()), 1).shape == (0, 1)


@given(st.lists(HEX))
def test_text_is_the_reverse_and_order_is_kept(texts: list[str]) -> None:
    words = digits.words(pa.array(texts, pa.string()), 2)
    assert digits.text(words).to_pylist() == [text[:32] for text in texts]
    order = np.lexsort((words[:, 1], words[:, 0]))
    assert [texts[place][:32] for place in order] == sorted(text[:32] for text in texts)
    keys = digits.keys(words)
    assert [key.hex() for key in keys.to_pylist()] == [text[:32] for text in texts]


@pytest.mark.parametrize("bad", ["abc", "", "g" * 16, "A" * 16, "é" * 16, "0" * 15 + " "])
def test_what_is_no_hex_is_named(bad: str) -> None:
    with pytest.raises(ValueError, match=r"is not 16 (lower-case )?hex digits"):
        digits.words(pa.array(["0" * 16, bad]), 1)


def test_a_slice_is_read_as_itself() -> None:
    text = pa.array([f"{n:016x}" for n in range(9)]).slice(3, 4)
    assert digits.words(text, 1)[:, 0].tolist() == [3, 4, 5, 6]
