"""URL lists: their formats, their columns, their rows one by one."""

import csv
import dataclasses
import io
import itertools
import json
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ArrowException

from lineage import files

DESCRIPTION = "list.json"
"""The file beside a list that says its format and columns."""
_DELIMITERS = {"csv": ",", "tsv": "\t"}
FORMATS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
GUESSES = {
    "url": ("url", "image_url", "link"),
    "caption": ("caption", "text", "alt", "title"),
    "license": ("license", "licence"),
    "origin": ("origin", "source"),
    "expected_sha256": ("sha256", "expected_sha256"),
}
"""What each of our fields is often called, in any case, the likeliest first."""
REQUIRED = ("url", "caption")
_MAX_RECORD_LINES = 100
"""A quoted field may hold line ends; a stray quotation mark must not swallow the rest of the list."""
_NUM_SAMPLED_OBJECTS = 1000  # of a jsonl file, for their keys

csv.field_size_limit(sys.maxsize)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListDescription:
    """Format and columns of one URL list."""

    format: str
    """csv, tsv, jsonl or parquet."""
    files: list[str]
    """File names beside the description, in reading order."""
    columns: dict[str, str]
    """Our field -> the list's column."""
    header: bool = True
    """Whether the first line names the columns; else they are 1, 2, ... (CC3M, CC12M)."""


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


def describe(path: Path, mapping: Mapping[str, str]) -> ListDescription:
    """Returns the format and columns of a list: a file, or a folder of files of one format.

    In a folder, names that start with `.` or `_` are left out, as Arrow does.

    Args:
        path: csv, tsv, jsonl or parquet.
        mapping: our field -> the list's column, where the caller knows; the rest is guessed from usual names.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: for an unknown format, a missing column or an empty list, saying what to do.
    """
    found = _files(path)
    list_format, *others = {FORMATS.get(file.suffix.lower()) for file in found}
    if others or list_format is None:
        raise ValueError(f"{path}: expected files of one of the formats {', '.join(sorted(FORMATS))}")
    firsts = [_first(file, list_format) for file in found]
    header = list_format not in _DELIMITERS or not any(map(_is_address, firsts[0]))
    columns = [names if header else [str(place) for place in range(1, len(names) + 1)] for names in firsts]
    for file, names in zip(found, columns, strict=True):
        if names != columns[0] and list_format != "jsonl":
            raise ValueError(f"{file}: its columns {names} differ from those of {found[0].name}: {columns[0]}")
    guessed = _guess(columns[0]) if header else _guess_headless(firsts[0])
    chosen = _choose(path, columns[0], mapping, guessed)
    return ListDescription(format=list_format, files=[file.name for file in found], columns=chosen, header=header)


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


def load(folder: Path) -> ListDescription:
    """Returns the description kept in `folder`; a ValueError names the file where there is none."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ValueError(f"{path}: not there; add lists with `python -m pipelines.snapshot add`")
    try:
        return ListDescription(**files.read_json(path))
    except TypeError as error:
        raise ValueError(f"{path}: not the description of a list ({error}); add the list again") from None


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; give a csv, tsv, jsonl or parquet file")
    children = path.iterdir() if path.is_dir() else []
    found = sorted(child for child in children if child.is_file() and child.name[0] not in "._") or [path]
    if found == [path] and path.is_dir():
        raise ValueError(f"{path}: an empty folder; give a csv, tsv, jsonl or parquet file")
    return found


def _first(file: Path, list_format: str) -> list[str]:
    """Returns the names of a file's columns or, of a text file, the cells of its first record."""
    try:
        if list_format == "parquet":
            return list(pq.read_schema(file).names)
        with _open(file) as text:
            if list_format == "jsonl":
                return _keys(text)
            return next(csv.reader(text, delimiter=_DELIMITERS[list_format], strict=True))
    except StopIteration:
        raise ValueError(f"{file}: the list is empty") from None
    except (ArrowException, csv.Error) as error:
        raise ValueError(f"{file}: cannot be read as {list_format} ({' '.join(str(error).split())[:200]})") from None


def _keys(text: Iterator[str]) -> list[str]:
    """Returns the keys of the first objects in a jsonl file; raises StopIteration where it has no line at all."""
    lines = itertools.chain([next(text)], text)
    objects = (content for line in lines if isinstance(content := _json(line), dict))
    return list(dict.fromkeys(key for content in itertools.islice(objects, _NUM_SAMPLED_OBJECTS) for key in content))


def _guess(columns: list[str]) -> dict[str, str | None]:
    known = {column.lower(): column for column in reversed(columns)}
    return {field: next((known[name] for name in names if name in known), None) for field, names in GUESSES.items()}


def _guess_headless(cells: list[str]) -> dict[str, str | None]:
    """Returns the column of the URL, and of two columns the other as the caption."""
    is_address = list(map(_is_address, cells))
    guessed: dict[str, str | None] = dict.fromkeys(GUESSES)
    if sum(is_address) == 1:
        guessed["url"] = str(is_address.index(True) + 1)
        guessed["caption"] = str(is_address.index(False) + 1) if len(cells) == 2 else None
    return guessed


def _choose(
    path: Path, columns: list[str], mapping: Mapping[str, str], guessed: Mapping[str, str | None]
) -> dict[str, str]:
    """Returns our field -> column; a mapped column must be there, the required fields must be found."""
    for field, column in mapping.items():
        if field not in GUESSES:
            raise ValueError(f"--map {field}={column}: unknown field {field}; fields: {', '.join(GUESSES)}")
        if column not in columns:
            raise ValueError(f"{path}: --map {field}={column}: no such column; columns: {', '.join(columns)}")
    chosen = {**guessed, **mapping}
    for field in REQUIRED:
        if chosen[field] is None:
            raise ValueError(
                f"{path}: no {field} column; columns: {', '.join(columns) or 'none'}; "
                f"name one with --map {field}=COLUMN"
            )
    return {field: column for field, column in chosen.items() if column is not None}


def _is_address(cell: str) -> bool:
    return cell.lower().startswith(("http://", "https://"))


def _open(path: Path) -> io.TextIOWrapper:
    """Returns a text file open for reading: bytes that are not UTF-8 become surrogates, line ends stay as they are."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _rows(path: Path, description: ListDescription) -> Iterator[ListRow]:
    if description.format == "parquet":
        return _read_parquet(path, description.columns)
    if description.format == "jsonl":
        return _read_jsonl(path, description.columns)
    return _read_separated(path, description.columns, _DELIMITERS[description.format], header=description.header)


def _read_separated(path: Path, columns: dict[str, str], delimiter: str, *, header: bool) -> Iterator[ListRow]:
    with _open(path) as text:
        first = next(csv.reader(text, delimiter=delimiter), [])
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
    with _open(path) as text:
        text.reconfigure(newline="\n")
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            content = _json(line)
            if not isinstance(content, dict):
                yield ListRow(file=path.name, number=number, values=None, reason="unparsable_row")
                continue
            yield _row(path, number, {field: content.get(column) for field, column in columns.items()})


def _json(line: str) -> Any:
    """Returns a line's content, or None where it is not JSON: too deep and too long numbers included."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


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
