"""The rows of a URL list as they stand there, in batches of columns."""

import csv
import dataclasses
import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException

from pipelines.lists import formats, given
from pipelines.lists.descriptions import DESCRIPTION, ListDescription, load

BATCH_ROWS = 1 << 16
"""Rows read at a time."""
_MAX_RECORD_LINES = 100
"""A quoted field may hold line ends; a stray quotation mark must not swallow the rest of the list."""
_BUFFER_BYTES = 1 << 20

csv.field_size_limit(sys.maxsize)

Row = tuple[Any, ...]
"""The values of our fields, then those of the scores, then the row's number; the number alone where it has no form."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Rows of one file as they stand there, as columns."""

    file: str
    numbers: Sequence[int]
    """From 1; of a text file the line a row's record ends on, the header included."""
    reasons: list[str | None]
    """Why a row could not be read: `unparsable_row` or `bad_encoding`; its values are None."""
    values: dict[str, list[Any]]
    """Our field -> value of each row."""
    given: pa.StringArray
    """The row's given scores as JSON, or null."""


def read(folder: Path) -> Iterator[Batch]:
    """Yields the rows of the list kept in `folder`, in order.

    Raises:
        ValueError: if the description or a file is missing or damaged, naming it.
    """
    description = load(folder)
    for name in description.files:
        yield from read_file(folder / name, description)


def read_file(path: Path, description: ListDescription) -> Iterator[Batch]:
    """Yields the rows of one file of a list, in order.

    Raises:
        ValueError: if it is missing or damaged, naming it.
    """
    if not path.is_file():
        raise ValueError(f"{path}: listed in {DESCRIPTION} but not there")
    last = 0
    try:
        for batch in _READERS[description.format](path, description):
            last = batch.numbers[-1]
            yield batch
    except (ArrowException, OSError) as error:
        told = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: cannot be read after row {last} ({told})") from None


def _batches(path: Path, description: ListDescription, rows: Iterator[Row]) -> Iterator[Batch]:
    num_fields, names = len(description.columns), list(description.scores)
    blank = (None,) * (num_fields + len(names))
    while chunk := list(itertools.islice(rows, BATCH_ROWS)):
        reasons = [None if len(row) > 1 else "unparsable_row" for row in chunk]
        *columns, numbers = map(list, zip(*(row if len(row) > 1 else blank + row for row in chunk), strict=True))
        _blank_bad_encoding(columns[:num_fields], reasons)
        scores = {name: given.as_numbers(column) for name, column in zip(names, columns[num_fields:], strict=True)}
        yield Batch(
            file=path.name,
            numbers=numbers,
            reasons=reasons,
            values=dict(zip(description.columns, columns, strict=False)),
            given=given.as_json(scores, len(chunk)),
        )


def _blank_bad_encoding(columns: list[list[Any]], reasons: list[str | None]) -> None:
    """Takes the values from rows with text that was not UTF-8, which surrogates mark, and names the reason."""
    bad = {
        row for column in columns if not _is_text(column) for row, value in enumerate(column) if not _is_text([value])
    }
    for row in bad:
        reasons[row] = "bad_encoding"
        for column in columns:
            column[row] = None


def _is_text(values: list[Any]) -> bool:
    try:
        "".join([value for value in values if isinstance(value, str)]).encode()
    except UnicodeEncodeError:
        return False
    return True


def _wanted(description: ListDescription) -> list[str]:
    return [*description.columns.values(), *description.scores.values()]


def _read_separated(path: Path, description: ListDescription) -> Iterator[Batch]:
    with formats.open_text(path) as text:
        records = parse(formats.lines(text), formats.DELIMITERS[description.format])
        numbered_first = next(records, (0, []))
        first, wanted = numbered_first[1], _wanted(description)
        width = description.widths.get(path.name, len(first))
        names = first if description.header else [str(place) for place in range(1, width + 1)]
        absent = [name for name in wanted if name not in names]
        if absent:
            raise ValueError(f"{path}: no column {absent[0]}, which {DESCRIPTION} names; add the list again")
        if not description.header:
            records = itertools.chain([numbered_first], records)
        yield from _batches(path, description, _pick_cells(records, [names.index(name) for name in wanted], len(names)))


def _pick_cells(records: Iterator[tuple[int, list[Any]]], places: Sequence[int], num_cells: int) -> Iterator[Row]:
    pick: Callable[[list[Any]], Row] = itemgetter(*places, num_cells)
    for number, cells in records:
        if len(cells) == num_cells:
            cells.append(number)
            yield pick(cells)
        elif cells:  # a blank line is no row
            yield (number,)


def parse(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields each record's last line, from 1, and its cells.

    Where quotation marks do not make a record (raw TSV has no quoting), the line is taken as it stands, and reading
    goes on with the next.
    """
    waiting: deque[str] = deque()
    number = 0
    while line := waiting.popleft() if waiting else next(lines, None):
        number += 1
        if '"' not in line:
            bare = line.rstrip("\r\n")
            yield number, bare.split(delimiter) if bare else []
            continue
        taken = [line]
        try:
            cells = next(csv.reader(_take(waiting, lines, taken), delimiter=delimiter, strict=True))
        except csv.Error:
            waiting.extendleft(reversed(taken[1:]))
            del taken[1:]
            cells = line.rstrip("\r\n").split(delimiter)
        number += len(taken) - 1
        yield number, cells


def _take(waiting: deque[str], lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    """Yields the line in `taken` and then the next, of at most one record, noting them there."""
    yield taken[0]
    while len(taken) < _MAX_RECORD_LINES:
        line = waiting.popleft() if waiting else next(lines, None)
        if line is None:
            return
        taken.append(line)
        yield line


def _read_jsonl(path: Path, description: ListDescription) -> Iterator[Batch]:
    with formats.open_text(path) as text:
        text.reconfigure(newline="\n")
        lines = ((number, line) for number, line in enumerate(formats.lines(text), 1) if line.strip())
        rows = _pick_keys(((number, formats.parse_json(line)) for number, line in lines), _wanted(description))
        yield from _batches(path, description, rows)


def _read_json(path: Path, description: ListDescription) -> Iterator[Batch]:
    return _batches(path, description, _pick_keys(enumerate(formats.json_items(path), 1), _wanted(description)))


def _pick_keys(items: Iterator[tuple[int, Any]], keys: Sequence[str]) -> Iterator[Row]:
    for number, content in items:
        yield (*map(content.get, keys), number) if isinstance(content, dict) else (number,)


def _read_txt(path: Path, description: ListDescription) -> Iterator[Batch]:
    """Reads `URL caption` lines; a URL alone is a row without a caption."""
    with formats.open_text(path) as text:
        lines = ((number, line.split(None, 1)) for number, line in enumerate(formats.lines(text), 1) if line.strip())
        named = ((number, {"url": words[0], "caption": "".join(words[1:]).rstrip()}) for number, words in lines)
        yield from _batches(path, description, _pick_keys(named, _wanted(description)))


def _read_parquet(path: Path, description: ListDescription) -> Iterator[Batch]:
    """Reads row by row of the columns needed, without holding a row group."""
    with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES) as file:
        wanted = sorted(set(_wanted(description)))
        absent = [name for name in wanted if name not in file.schema_arrow.names]
        if absent:
            raise ValueError(f"{path}: no column {absent[0]}, which {DESCRIPTION} names; add the list again")
        number = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=wanted):
            values = {field: text_values(batch.column(column)) for field, column in description.columns.items()}
            reasons: list[str | None] = [None] * batch.num_rows
            _blank_bad_encoding(list(values.values()), reasons)
            scores = {name: given.as_numbers(batch.column(column)) for name, column in description.scores.items()}
            yield Batch(
                file=path.name,
                numbers=range(number + 1, number + batch.num_rows + 1),
                reasons=reasons,
                values=values,
                given=given.as_json(scores, batch.num_rows),
            )
            number += batch.num_rows


def text_values(column: pa.Array) -> list[Any]:
    """Returns a column's values; text goes by its bytes, for nothing makes a parquet writer tell UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _decoded(column)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return column.to_pylist()  # type: ignore[no-any-return]
    try:
        column.validate(full=True)
        return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]
    except pa.ArrowInvalid:
        return _decoded(column.cast(pa.large_binary()))


def _decoded(column: pa.Array) -> list[str | None]:
    found = column.to_pylist()
    return [None if value is None else value.decode("utf-8", "surrogateescape") for value in found]


_READERS: dict[str, Callable[[Path, ListDescription], Iterator[Batch]]] = {
    "csv": _read_separated,
    "tsv": _read_separated,
    "jsonl": _read_jsonl,
    "json": _read_json,
    "txt": _read_txt,
    "parquet": _read_parquet,
}
