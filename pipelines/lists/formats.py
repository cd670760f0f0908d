"""How the files of a URL list are opened: format and compression by suffix, text as it stands, JSON piece by piece."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

DELIMITERS = {"csv": ",", "tsv": "\t"}
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".txt": "txt",
    ".parquet": "parquet",
}
"""json is one array of objects, or a COCO captions file; txt is `URL caption` a line."""
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
"""Of any text format."""
_COCO_CAPTION, _COCO_IMAGE = ("id", "image_id", "caption"), ("coco_url", "flickr_url", "file_name", "width", "height")
COCO_FIELDS = (*_COCO_CAPTION, *_COCO_IMAGE, "license")
"""Columns of a COCO captions file, one row a caption: the caption's, and its picture's."""
MAX_RECORD_CHARS = 1 << 26
"""A longer line or JSON object is no row of a list; it would fill the memory."""
_CHUNK_CHARS = 1 << 20
_BUFFER_BYTES = 1 << 20


def format_of(path: Path) -> str | None:
    """Returns the format a file's name stands for, or None."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        found = FORMATS.get(suffixes[-2]) if len(suffixes) > 1 else None
        return None if found == "parquet" else found
    return FORMATS.get(suffixes[-1]) if suffixes else None


def open_text(path: Path) -> io.TextIOWrapper:
    """Returns a text file open for reading: bytes that are not UTF-8 become surrogates, line ends stay as they are.

    Reading on raises OSError where compressed data are damaged or cut off.
    """
    compression = COMPRESSIONS.get(path.suffix.lower())
    if compression is None:
        return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    unpacked = io.BufferedReader(pa.input_stream(str(path), compression=compression), _BUFFER_BYTES)
    return io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="surrogateescape", newline="")


def lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Yields the lines of a text with their ends.

    Raises:
        OSError: for a line that would not fit into memory.
    """
    while line := text.readline(MAX_RECORD_CHARS):
        if len(line) == MAX_RECORD_CHARS:
            raise OSError(f"a line of more than {MAX_RECORD_CHARS} characters")
        yield line


def parse_json(line: str) -> Any:
    """Returns a line's content, or None where it is not JSON: too deep and too long numbers included."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def json_items(path: Path) -> Iterator[Any]:
    """Yields the items of a JSON file's array one by one, or the captions of a COCO file as rows of COCO_FIELDS.

    An array is read piece by piece; a COCO file (some 100 MB) is read whole.

    Raises:
        OSError: if the file is neither, is cut off or is damaged.
    """
    with open_text(path) as text:
        opening = text.read(_CHUNK_CHARS).lstrip()
        if opening.startswith("["):
            yield from _array_items(opening[1:], text)
        elif opening.startswith("{"):
            yield from _coco_rows(opening + text.read())
        elif opening:
            raise OSError("neither an array of objects nor a COCO captions file")


def is_coco(path: Path) -> bool:
    """Returns whether a JSON file holds one object, as COCO's do, and no array."""
    with open_text(path) as text:
        return text.read(_CHUNK_CHARS).lstrip().startswith("{")


def _array_items(buffer: str, text: io.TextIOWrapper) -> Iterator[Any]:
    decoder, start = json.JSONDecoder(), 0
    while True:
        start = _skip_space(buffer, start)
        if buffer[start : start + 1] == "]":
            if buffer[start + 1 :].strip() or text.read(_CHUNK_CHARS).strip():
                raise OSError("something follows the array")
            return
        try:
            item, end = decoder.raw_decode(buffer, start)
            end = _skip_space(buffer, end)
        except (json.JSONDecodeError, RecursionError):
            end = len(buffer)
        if end == len(buffer):  # cut by the buffer's end, or broken: more text tells
            more = text.read(max(_CHUNK_CHARS, len(buffer) - start))
            if not more or len(buffer) - start > MAX_RECORD_CHARS:
                raise OSError("the array is broken or cut off")
            buffer, start = buffer[start:] + more, 0
            continue
        if buffer[end] not in ",]":
            raise OSError("the array is broken: no comma between two items")
        yield item
        start = end + (buffer[end] == ",")


def _skip_space(text: str, start: int) -> int:
    while start < len(text) and text[start] in " \t\r\n":
        start += 1
    return start


def _coco_rows(content: str) -> Iterator[dict[str, Any]]:
    """Yields a row of COCO_FIELDS for each caption; without its picture it has no URL. A licence goes by its URL."""
    parsed = parse_json(content)
    if not isinstance(parsed, dict) or not all(
        isinstance(parsed.get(name), list) for name in ("images", "annotations")
    ):
        raise OSError("not a COCO captions file: no lists `images` and `annotations`, or broken JSON")
    licences, images = _by_id(parsed.get("licenses")), _by_id(parsed["images"])
    for item in parsed["annotations"]:
        if not isinstance(item, dict):
            yield item
            continue
        image = _find(images, item.get("image_id"))
        row = {field: item.get(field) for field in _COCO_CAPTION} | {field: image.get(field) for field in _COCO_IMAGE}
        yield {**row, "license": _find(licences, image.get("license")).get("url")}


def _by_id(items: Any) -> dict[Any, dict[str, Any]]:
    """Returns the objects of a table by id; whatever else stands there names nothing."""
    found = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return {item["id"]: item for item in found if isinstance(item.get("id"), int | str)}


def _find(table: dict[Any, dict[str, Any]], key: object) -> dict[str, Any]:
    return table.get(key, {}) if isinstance(key, int | str) else {}
