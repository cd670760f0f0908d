"""What a URL list is, found out: its files, their format, and which column is which field, by preset or by its name."""

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq
from pyarrow import ArrowException

from lineage.params import check_name
from pipelines.lists.descriptions import DESCRIPTION, FIELDS, REQUIRED, ListDescription
from pipelines.lists.formats import (
    COCO_FIELDS,
    DELIMITERS,
    FORMATS,
    format_of,
    is_coco,
    json_items,
    lines,
    open_text,
    parse_json,
)
from pipelines.lists.presets import PRESETS, Names, Preset
from pipelines.lists.tombstones import OPTED_OUT

GUESSES: Mapping[str, Names] = {
    "url": ("url", "image_url", "link"),
    "caption": ("caption", "text", "alt", "title"),
    "license": ("license", "licence"),
    "origin": ("origin", "source"),
    "expected_sha256": ("sha256", "expected_sha256"),
    "expected_phash": ("expected_phash",),
}
"""What each of our fields is often called, in any case, the likeliest first. A `phash` is mostly somebody else's."""
_MAX_RECORD_LINES = 100  # of a record with quoted line ends
_NUM_SAMPLED_ROWS = 1000  # of a json, jsonl or txt file
_SHOWN_CHARS = 200  # of a list's own words in an error


def find(path: Path) -> list[Path]:
    """Returns the files of a list, by name: a file, a folder's, or those a glob pattern matches.

    Of a folder's and a pattern's files, those whose names start with `.` or `_` are left out, as Arrow does.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: if a folder is empty, or two files have one name.
    """
    if path.is_dir():
        found = [child for child in path.iterdir() if child.is_file() and child.name[0] not in "._"]
        found = sorted(child for child in found if child.name not in (DESCRIPTION, OPTED_OUT))
        if not found:
            raise ValueError(f"{path}: an empty folder; give files of one of the formats {', '.join(FORMATS)}")
        return found
    if path.exists():
        return [path]
    pattern = path.relative_to(path.anchor)
    found = [match for match in Path(path.anchor).glob(str(pattern)) if match.is_file() and match.name[0] not in "._"]
    if not found and any(mark in str(pattern) for mark in "*?["):
        raise FileNotFoundError(f"{path}: no file matches the pattern")
    if not found:
        raise FileNotFoundError(
            f"{path}: no such file; give a file, a folder, or a quoted pattern like 'meta/*.parquet'"
        )
    found.sort(key=lambda file: (file.name, str(file)))
    for first, second in itertools.pairwise(found):
        if first.name == second.name:
            raise ValueError(f"{path}: {first} and {second} have one name; rename one of them")
    return found


def describe(
    path: Path, mapping: Mapping[str, str], *, scores: Mapping[str, str] | None = None, preset: str | None = None
) -> ListDescription:
    """Returns the format and columns of a list: a file, a folder or a glob pattern of files of one format.

    Args:
        path: any of FORMATS; of a text format also .gz or .zst.
        mapping: our field -> the list's column, where the caller knows; the rest is the preset's, or guessed from
            usual names.
        scores: name of a score -> the list's column, beside the preset's.
        preset: one of PRESETS.

    Raises:
        FileNotFoundError: if nothing is there.
        ValueError: for an unknown format or preset, a missing column, a damaged file or an empty list, saying what to
            do.
    """
    chosen = _preset(preset)
    found = find(path)
    list_format = _one_format(path, found, preset, chosen)
    firsts = [_first(file, list_format) for file in found]
    header = list_format not in DELIMITERS or not any(map(_is_address, firsts[0]))
    columns = [names if header else [str(place) for place in range(1, len(names) + 1)] for names in firsts]
    for file, names in zip(found, columns, strict=True):
        if names != columns[0] and list_format not in ("jsonl", "json"):
            raise ValueError(f"{file}: its columns {names} differ from those of {found[0].name}: {columns[0]}")
    if chosen:
        guessed = _named(columns[0], chosen.columns)
    else:
        guessed = _named(columns[0], GUESSES) if header else _guess_headless(firsts[0])
    _check_given(path, columns[0], mapping, scores or {})
    return ListDescription(
        format=list_format,
        files=[file.name for file in found],
        columns=_complete(path, columns[0], {**guessed, **mapping}),
        header=header,
        scores={**(_named(columns[0], chosen.scores) if chosen else {}), **(scores or {})},
    )


def _preset(name: str | None) -> Preset | None:
    if name is not None and name not in PRESETS:
        raise ValueError(f"--preset {name}: unknown; presets: {', '.join(PRESETS)}")
    return PRESETS[name] if name else None


def _one_format(path: Path, found: Sequence[Path], name: str | None, preset: Preset | None) -> str:
    formats = {file: format_of(file) for file in found}
    unknown = next((file for file, known in formats.items() if known is None), None)
    if unknown is not None:
        raise ValueError(f"{unknown}: expected files of one of the formats {', '.join(FORMATS)}, text also .gz or .zst")
    list_format, *others = dict.fromkeys(formats.values())
    if others:
        raise ValueError(
            f"{path}: expected files of one format, not of {list_format} and {', '.join(map(str, others))}"
        )
    assert list_format is not None
    if preset and list_format not in preset.formats:
        raise ValueError(f"{path}: is {list_format}; a {name} list is {' or '.join(preset.formats)}")
    return list_format


def _first(file: Path, list_format: str) -> list[str]:
    """Returns the names of a file's columns or, of csv and tsv, the cells of its first record."""
    try:
        if list_format == "parquet":
            return list(pq.read_schema(file).names)
        if list_format == "json":
            return list(COCO_FIELDS) if is_coco(file) else _keys(json_items(file))
        with open_text(file) as text:
            top = lines(text)
            if list_format == "jsonl":
                return _keys(map(parse_json, itertools.chain([next(top)], top)))
            if list_format == "txt":
                return _check_captions(file, top)
            cells = _cells(list(itertools.islice(top, _MAX_RECORD_LINES)), list_format)
            if any("\0" in cell for cell in cells):
                raise ValueError(f"{file}: not text; is it parquet, or compressed?")
            return cells
    except StopIteration:
        raise ValueError(f"{file}: the list is empty") from None
    except (ArrowException, OSError, csv.Error) as error:
        raise ValueError(f"{file}: cannot be read as {list_format} ({' '.join(str(error).split())[:200]})") from None


def _cells(top: Sequence[str], list_format: str) -> list[str]:
    """Returns the cells of the first record; raw TSV has no quoting, so there a stray quotation mark is just one."""
    try:
        return next(csv.reader(top, delimiter=DELIMITERS[list_format], strict=True))
    except csv.Error:
        if list_format != "tsv":
            raise
        return top[0].rstrip("\r\n").split(DELIMITERS[list_format])


def _keys(items: Iterator[object]) -> list[str]:
    """Returns the keys of the first objects; raises StopIteration where there is nothing at all."""
    objects = (content for content in itertools.chain([next(items)], items) if isinstance(content, dict))
    return list(dict.fromkeys(key for content in itertools.islice(objects, _NUM_SAMPLED_ROWS) for key in content))


def _check_captions(file: Path, text: Iterator[str]) -> list[str]:
    """Returns the columns of txt; a file of bare URLs, as img2dataset takes for pictures alone, makes no pair."""
    sample = [line.split(None, 1) for line in itertools.islice(text, _NUM_SAMPLED_ROWS) if line.strip()]
    if not sample:
        raise StopIteration
    if max(map(len, sample)) == 1:
        raise ValueError(f"{file}: URLs without captions; give `URL caption` on a line, or csv with both columns")
    return list(REQUIRED)


def _named(columns: Sequence[str], wanted: Mapping[str, Names]) -> dict[str, str]:
    """Returns what is wanted -> the first of its names that is a column, in any case."""
    known = {column.lower(): column for column in reversed(columns)}
    found = {key: next((known[n.lower()] for n in names if n.lower() in known), None) for key, names in wanted.items()}
    return {key: column for key, column in found.items() if column is not None}


def _guess_headless(cells: Sequence[str]) -> dict[str, str]:
    """Returns the column of the URL, and of two columns the other as the caption."""
    is_address = list(map(_is_address, cells))
    if sum(is_address) != 1:
        return {}
    guessed = {"url": str(is_address.index(True) + 1)}
    return {**guessed, "caption": str(is_address.index(False) + 1)} if len(cells) == 2 else guessed


def _check_given(path: Path, columns: Sequence[str], mapping: Mapping[str, str], scores: Mapping[str, str]) -> None:
    """Raises ValueError for an option that names no field of ours, no good score name or no column of the list."""
    for field, column in mapping.items():
        if field not in FIELDS:
            raise ValueError(f"--map {field}={column}: unknown field {field}; fields: {', '.join(FIELDS)}")
        if column not in columns:
            raise ValueError(f"{path}: --map {field}={column}: no such column; columns: {shown(columns)}")
    for name, column in scores.items():
        check_name(name, f"--score {name}={column}: score name")
        if column not in columns:
            raise ValueError(f"{path}: --score {name}={column}: no such column; columns: {shown(columns)}")


def _complete(path: Path, columns: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Returns our field -> column in the order of our fields; the required ones must be there."""
    for field in REQUIRED:
        if field not in chosen:
            raise ValueError(
                f"{path}: no {field} column; columns: {shown(columns)}; name one with --map {field}=COLUMN"
            )
    for field, column in chosen.items():
        if columns.count(column) > 1:
            raise ValueError(
                f"{path}: {columns.count(column)} columns are called {column} ({field}); rename the others"
            )
    return {field: chosen[field] for field in FIELDS if field in chosen}


def shown(columns: Sequence[str]) -> str:
    """Returns column names for an error: escaped, and not without end."""
    text = ", ".join(columns) or "none"
    return (text if text.isprintable() else repr(text))[:_SHOWN_CHARS]


def _is_address(cell: str) -> bool:
    return cell.lower().startswith(("http://", "https://"))
