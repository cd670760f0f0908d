"""Rows of a list's text by where they stand, and the text without some of them: every other byte stays as it is.

A row goes by the number that `lists.read` gives it.
"""

import csv
import io
import json
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from pipelines import lists
from pipelines.lists import formats

Goes = Callable[[int, str], bool]
"""Number and text of a row -> whether it is to go."""
Span = tuple[int, int]
_COCO_TABLES = ("images", "annotations")
_DECODER = json.JSONDecoder()


def without(text: io.TextIOWrapper, format: str, goes: Goes, *, requoted: bool = False) -> Iterator[str]:
    """Yields the text of a list's file without some of its rows.

    Args:
        text: as formats.open_text gives it.
        requoted: whether records of csv and tsv that hold a quotation mark are quoted anew, every cell: a stray mark
            must not swallow what comes after it now.
    """
    if format == "json":
        yield _json_without(text.read(), goes)
        return
    if format in formats.DELIMITERS:
        delimiter = formats.DELIMITERS[format]
        for number, cells, raw in _records(formats.lines(text), delimiter):
            if not goes(number, raw):
                yield _quoted(cells, raw, delimiter) if requoted and '"' in raw else raw
        return
    if format == "jsonl":
        text.reconfigure(newline="\n")
    yield from (line for number, line in enumerate(formats.lines(text), 1) if not goes(number, line))


def width(text: io.TextIOWrapper, format: str) -> int:
    """Returns how many cells the first record of a csv or tsv file has."""
    first = next(lists.parse(formats.lines(text), formats.DELIMITERS[format]), (0, []))
    return len(first[1])


def _records(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """Yields number, cells and text of each record: parsing may look ahead, so lines are held until they are its."""
    held: deque[str] = deque()

    def noted() -> Iterator[str]:
        for line in lines:
            held.append(line)
            yield line

    last = 0
    for number, cells in lists.parse(noted(), delimiter):
        yield number, cells, "".join(held.popleft() for _ in range(number - last))
        last = number


def _quoted(cells: list[str], raw: str, delimiter: str) -> str:
    made = io.StringIO()
    csv.writer(made, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="").writerow(cells)
    return made.getvalue() + raw[len(raw.rstrip("\r\n")) :]


def _json_without(text: str, goes: Goes) -> str:
    start = _skip(text, 0)
    if text[start : start + 1] == "[":
        items = list(_items(text, start))
        return _cut(text, _cuts(items, {n for n, span in enumerate(items) if goes(n + 1, text[slice(*span)])}))
    spans = {key: span for key, span in _members(text, start) if key in _COCO_TABLES}
    tables = {key: list(_items(text, span[0])) for key, span in spans.items()}
    parsed = {key: [json.loads(text[slice(*span)]) for span in items] for key, items in tables.items()}
    rows = [text[slice(*span)] for span in tables["annotations"]]
    gone = {n for n, row in enumerate(rows) if goes(n + 1, row)}
    if not gone:
        return text
    kept = {_id(item, "image_id") for n, item in enumerate(parsed["annotations"]) if n not in gone}
    lost = {_id(item, "image_id") for n, item in enumerate(parsed["annotations"]) if n in gone} - kept
    images = {n for n, item in enumerate(parsed["images"]) if _id(item, "id") in lost}
    return _cut(text, [*_cuts(tables["annotations"], gone), *_cuts(tables["images"], images)])


def _id(item: Any, name: str) -> str | None:
    """Returns an id as JSON, for 1 and "1" are two; None where there is none."""
    found = item.get(name) if isinstance(item, dict) else None
    return None if found is None else json.dumps(found)


def _items(text: str, start: int) -> Iterator[Span]:
    """Yields where each item of the array that begins at `start` stands."""
    place = _skip(text, start + 1)
    while text[place] != "]":
        _, end = _DECODER.raw_decode(text, place)
        yield place, end
        place = _skip(text, end)
        place = _skip(text, place + 1) if text[place] == "," else place


def _members(text: str, start: int) -> Iterator[tuple[str, Span]]:
    """Yields key and place of the value of each member of the object that begins at `start`."""
    place = _skip(text, start + 1)
    while text[place] != "}":
        key, end = _DECODER.raw_decode(text, place)
        place = _skip(text, _skip(text, end) + 1)
        _, end = _DECODER.raw_decode(text, place)
        yield key, (place, end)
        place = _skip(text, end)
        place = _skip(text, place + 1) if text[place] == "," else place


def _cuts(items: list[Span], gone: Collection[int]) -> list[Span]:
    """Returns what is to be cut out of an array: items with the comma after them, the last ones with that before."""
    kept = [n for n in range(len(items)) if n not in gone]
    if not gone:
        return []
    if not kept:
        return [(items[0][0], items[-1][1])]
    inner = [(items[n][0], items[n + 1][0]) for n in sorted(gone) if n < kept[-1]]
    return [*inner, *([(items[kept[-1]][1], items[-1][1])] if kept[-1] < len(items) - 1 else [])]


def _cut(text: str, cuts: Iterable[Span]) -> str:
    parts, place = [], 0
    for start, end in sorted(cuts):
        parts.append(text[place:start])
        place = end
    return "".join([*parts, text[place:]])


def _skip(text: str, start: int) -> int:
    while start < len(text) and text[start] in " \t\r\n":
        start += 1
    return start
