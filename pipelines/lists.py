"""The rows of a URL list, one by one, as they stand there."""

import csv
import dataclasses
import itertools
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException

from pipelines.descriptions import DELIMITERS, DESCRIPTION, ListDescription, load, open_text, parse_json

_MAX_RECORD_LINES = 100
"""A quoted field may hold line ends; a stray quotation mark must not swallow the rest of the list."""

csv.field_size_limit(sys.maxsize)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ListRow:
    """One row of a list as it stands there."""

    file: str
    number: int
    """From 1; of a text file the line its record ends on, the header included."""
    values: dict[str, Any] | None
    """Our field -> value; None where the row could not be parsed."""
    reason: str | None = None
    """Why `values` is None."""


def read(folder: Path) -> Iterator[ListRow]:
    """Yields the rows of the list kept in `folder`, in order.

    Raises:
        ValueError: if the description or a file is missing or damaged, naming it.
    """
    description = load(folder)
    for name in description.files:
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: listed in {DESCRIPTION} but not there")
        yield from _rows(folder / name, description)


def _rows(path: Path, description: ListDescription) -> Iterator[ListRow]:
    if description.format == "parquet":
        return _read_parquet(path, description.columns)
    if description.format == "jsonl":
        return _read_jsonl(path, description.columns)
    return _read_separated(path, description.columns, DELIMITERS[description.format], header=description.header)


def _read_separated(path: Path, columns: dict[str, str], delimiter: str, *, header: bool) -> Iterator[ListRow]:
    with open_text(path) as text:
        first = next(csv.reader(text, delimiter=delimiter), [])
        absent = [name for name in columns.values() if header and name not in first]
        if absent:
            raise ValueError(f"{path}: no column {absent[0]}, which {DESCRIPTION} names; add the list again")
        places = {field: first.index(name) if header else int(name) - 1 for field, name in columns.items()}
        text.seek(0)
        for number, cells in itertools.islice(_parse(text, delimiter), header, None):
            if not cells:
                continue  # a blank line is no row
            if len(cells) != len(first):
                yield ListRow(file=path.name, number=number, values=None, reason="unparsable_row")
                continue
            yield _row(path, number, {field: cells[place] for field, place in places.items()})


def _parse(text: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields each record's last line, from 1, and its cells.

    Where quotation marks do not make a record (raw TSV has no quoting), the line is taken as it stands, and reading
    goes on with the next.
    """
    waiting: deque[str] = deque()
    number = 0
    while True:
        taken: list[str] = []
        try:
            cells = next(csv.reader(_take(waiting, text, taken), delimiter=delimiter, strict=True))
        except StopIteration:
            return
        except csv.Error:
            waiting.extendleft(reversed(taken[1:]))
            del taken[1:]
            cells = taken[0].rstrip("\r\n").split(delimiter)
        number += len(taken)
        yield number, cells


def _take(waiting: deque[str], text: Iterator[str], taken: list[str]) -> Iterator[str]:
    """Yields the lines of at most one record, noting them in `taken`."""
    while len(taken) < _MAX_RECORD_LINES:
        line = waiting.popleft() if waiting else next(text, None)
        if line is None:
            return
        taken.append(line)
        yield line


def _read_jsonl(path: Path, columns: dict[str, str]) -> Iterator[ListRow]:
    with open_text(path) as text:
        text.reconfigure(newline="\n")
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            content = parse_json(line)
            if not isinstance(content, dict):
                yield ListRow(file=path.name, number=number, values=None, reason="unparsable_row")
                continue
            yield _row(path, number, {field: content.get(column) for field, column in columns.items()})


def _read_parquet(path: Path, columns: dict[str, str]) -> Iterator[ListRow]:
    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(columns=sorted(set(columns.values()))):
            values = {field: _values(batch.column(column)) for field, column in columns.items()}
            for place in range(batch.num_rows):
                number += 1
                yield _row(path, number, {field: values[field][place] for field in columns})
    except (ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read after row {number} ({' '.join(str(error).split())[:200]})") from None


def _values(column: pa.Array) -> list[Any]:
    """Returns a column's values; text goes by its bytes, for nothing makes a parquet writer check its UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column.to_pylist()  # type: ignore[no-any-return]
    found = column.cast(pa.large_binary()).to_pylist()
    return [None if value is None else value.decode("utf-8", "surrogateescape") for value in found]


def _row(path: Path, number: int, values: dict[str, Any]) -> ListRow:
    """Returns a row with its text checked: surrogates mark bytes that were not UTF-8."""
    try:
        for value in values.values():
            if isinstance(value, str):
                value.encode("utf-8")
    except UnicodeEncodeError:
        return ListRow(file=path.name, number=number, values=None, reason="bad_encoding")
    return ListRow(file=path.name, number=number, values=values)
