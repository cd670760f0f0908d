"""What a URL list is: its format, its files, and which of its columns is which of our fields."""

import csv
import dataclasses
import io
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyarrow import ArrowException

from lineage import files

DESCRIPTION = "list.json"
"""The file beside a list that says its format and columns."""
DELIMITERS = {"csv": ",", "tsv": "\t"}
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
_NUM_SAMPLED_OBJECTS = 1000  # of a jsonl file, for their keys
_SHOWN_CHARS = 200  # of a list's own words in an error


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
    header = list_format not in DELIMITERS or not any(map(_is_address, firsts[0]))
    columns = [names if header else [str(place) for place in range(1, len(names) + 1)] for names in firsts]
    for file, names in zip(found, columns, strict=True):
        if names != columns[0] and list_format != "jsonl":
            raise ValueError(f"{file}: its columns {names} differ from those of {found[0].name}: {columns[0]}")
    guessed = _guess(columns[0]) if header else _guess_headless(firsts[0])
    chosen = _choose(path, columns[0], mapping, guessed)
    return ListDescription(format=list_format, files=[file.name for file in found], columns=chosen, header=header)


def load(folder: Path) -> ListDescription:
    """Returns the description kept in `folder`.

    Raises:
        ValueError: if there is none, or it is not one, naming the file.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ValueError(f"{path}: not there; add lists with `python -m pipelines.snapshot add`")
    try:
        description = ListDescription(**files.read_json(path))
        missing = [field for field in REQUIRED if field not in description.columns]
        if missing or description.format not in FORMATS.values():
            raise TypeError(f"format {description.format}, columns {description.columns}")
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not the description of a list ({error}); add the list again") from None
    return description


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
        with open_text(file) as text:
            if list_format == "jsonl":
                return _keys(text)
            cells = next(csv.reader(text, delimiter=DELIMITERS[list_format], strict=True))
            if any("\0" in cell for cell in cells):
                raise ValueError(f"{file}: not text; is it parquet, or compressed?")
            return cells
    except StopIteration:
        raise ValueError(f"{file}: the list is empty") from None
    except (ArrowException, csv.Error) as error:
        raise ValueError(f"{file}: cannot be read as {list_format} ({' '.join(str(error).split())[:200]})") from None


def _keys(text: Iterator[str]) -> list[str]:
    """Returns the keys of the first objects in a jsonl file; raises StopIteration where it has no line at all."""
    lines = itertools.chain([next(text)], text)
    objects = (content for line in lines if isinstance(content := parse_json(line), dict))
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
            raise ValueError(f"{path}: --map {field}={column}: no such column; columns: {shown(columns)}")
    chosen = {**guessed, **mapping}
    for field in REQUIRED:
        if chosen[field] is None:
            raise ValueError(
                f"{path}: no {field} column; columns: {shown(columns)}; name one with --map {field}=COLUMN"
            )
    return {field: column for field, column in chosen.items() if column is not None}


def shown(columns: list[str]) -> str:
    """Returns column names for an error: escaped, and not without end."""
    text = ", ".join(columns) or "none"
    return (text if text.isprintable() else repr(text))[:_SHOWN_CHARS]


def _is_address(cell: str) -> bool:
    return cell.lower().startswith(("http://", "https://"))


def open_text(path: Path) -> io.TextIOWrapper:
    """Returns a text file open for reading: bytes that are not UTF-8 become surrogates, line ends stay as they are."""
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def parse_json(line: str) -> Any:
    """Returns a line's content, or None where it is not JSON: too deep and too long numbers included."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
