"""spans takes rows out of a list's text and leaves every other byte as it is."""

import csv
import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.lists import spans

CELL = st.text(st.sampled_from("ab,\"' \n\té\u2028"), max_size=6)


def without(text: str, format: str, *numbers: int) -> str:
    wrapped = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", newline="")
    return "".join(spans.without(wrapped, format, lambda number, _: number in numbers))


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6), st.sets(st.integers(1, 6)))
def test_records_of_csv_go_with_all_their_lines(rows: list[tuple[str, str]], gone: set[int]) -> None:
    texts = []
    for row in rows:
        written = io.StringIO()
        csv.writer(written, quoting=csv.QUOTE_ALL).writerow(row)
        texts.append(written.getvalue())
    last_lines = list(itertools.accumulate(text.count("\n") for text in texts))
    found = without("".join(texts), "csv", *(last for number, last in enumerate(last_lines, 1) if number in gone))
    assert found == "".join(text for number, text in enumerate(texts, 1) if number not in gone)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_jsonl_and_txt_stay_with_their_ends(end: str) -> None:
    text = end.join(['{"url": 1}', "no json", "", '{"url": 2}'])
    assert without(text, "jsonl", 2) == text.replace(f"no json{end}", "")
    assert without(text, "txt", 4) == text.removesuffix('{"url": 2}')
    assert without(text, "txt") == text


def test_the_width_is_that_of_the_first_record() -> None:
    wrapped = io.TextIOWrapper(io.BytesIO(b'"a\nb",c,d\n1,2\n'), encoding="utf-8", newline="")
    assert spans.width(wrapped, "csv") == 3
