"""Takes rows that opt-outs name out of a URL list; their hashes stay, in opted_out.parquet.

Text files keep every other byte, parquet files their schema and order. What is left is read again and must be the rows
that there were, without those that went.
"""

import dataclasses
import functools
import itertools
import os
import re
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from lineage import digests, files, records
from pipelines import lists, parquet_rows, source
from pipelines.lists import descriptions, formats, spans, tombstones
from pipelines.lists.descriptions import ListDescription

_BOM = b"\xef\xbb\xbf"
_URL = re.compile(r"https?://[^\s\"'<>,|]+", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptedOut:
    """What is to go from a list."""

    uids: frozenset[str]
    url_sha256: frozenset[str]
    host_sha256: frozenset[str]
    """Of hosts; those below them go, too."""

    def names_url(self, text: object) -> bool:
        """Returns whether a URL, however odd, or its host is opted out."""
        if not isinstance(text, str):
            return False
        url = text.strip()
        is_named = bool(self.url_sha256) and _sha256(url) in self.url_sha256
        return is_named or (bool(self.host_sha256) and self.names_host(_host(url)))

    def names_host(self, host: str) -> bool:
        """Returns whether a host, or one above it, is opted out."""
        return _is_below(host.lower(), self.host_sha256)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Purged:
    """What went from a list."""

    pairs: int
    """Rows that were pairs, copies of one pair each for itself."""
    rejects: int
    """Rows that were no pairs; nothing stays of them."""
    files: list[str]
    """Those that were written anew."""


@dataclasses.dataclass(kw_only=True)
class _Found:
    """What is to go from one file."""

    pairs: set[int]
    rejects: set[int]
    unread: set[int]
    """Rows of which only the text can tell: it could not be read as columns."""
    tombstones: list[dict[str, str]]


def purge(folder: Path, opted_out: OptedOut, max_url_chars: int, scratch: Path) -> Purged:
    """Takes the rows that opt-outs name out of the list kept in `folder`; done already, it changes nothing.

    The hashes are noted first: killed at any point, and run again, it ends the same.

    Args:
        max_url_chars: params.yaml's source.max_url_chars.
        scratch: a folder on the same file system; gone in the end.

    Raises:
        ValueError: as lists.read; or if what is left of a file would be read otherwise, naming it.
    """
    for left in (scratch, *folder.glob(".*.partial")):  # by a killed run
        files.remove(left)
    description, gone = descriptions.load(folder), Purged(pairs=0, rejects=0, files=[])
    for name in description.files:
        found = _find(folder / name, description, opted_out, max_url_chars)
        if not (found.pairs or found.rejects or found.unread):
            continue
        made = scratch / name
        made.parent.mkdir(parents=True, exist_ok=True)
        dropped = _write(folder / name, made, description, found, opted_out)
        if not dropped:
            continue
        description = _with_width(description, folder / name)
        _check(folder / name, made, description, dropped)
        if found.pairs:
            tombstones.add(pa.Table.from_pylist(found.tombstones, tombstones.TOMBSTONES), folder)
        descriptions.save(description, folder)
        os.replace(made, folder / name)
        num_rejects = gone.rejects + len(dropped - found.pairs)
        gone = Purged(pairs=gone.pairs + len(found.pairs), rejects=num_rejects, files=[*gone.files, name])
    files.remove(scratch)
    return gone


def _find(path: Path, description: ListDescription, opted_out: OptedOut, max_url_chars: int) -> _Found:
    found = _Found(pairs=set(), rejects=set(), unread=set(), tombstones=[])
    for batch in lists.read_file(path, description):
        reasons = source.judge(batch, max_url_chars)
        for number, reason, url, caption in zip(
            batch.numbers, reasons, batch.values["url"], batch.values["caption"], strict=True
        ):
            if reason in ("unparsable_row", "bad_encoding"):
                found.unread.add(number)
            elif reason is not None:
                if opted_out.names_url(url):
                    found.rejects.add(number)
            elif records.uid_of(url.strip(), caption) in opted_out.uids or opted_out.names_url(url):
                found.pairs.add(number)
                found.tombstones.append(_tombstone(url.strip(), caption))
    return found


def _write(path: Path, made: Path, description: ListDescription, found: _Found, opted_out: OptedOut) -> set[int]:
    """Writes what is left of a file and returns the numbers of the rows that went."""
    dropped: set[int] = set()
    certain = found.pairs | found.rejects

    def goes(number: int, text: str) -> bool:
        if number in certain or (number in found.unread and any(map(opted_out.names_url, _urls(text)))):
            dropped.add(number)
        return number in dropped

    if description.format == "parquet":
        _write_parquet(path, made, description, goes)
        return dropped
    _write_text(path, made, description.format, goes)
    if not _reads_alike(path, made, _with_width(description, path), dropped):
        _write_text(path, made, description.format, goes, requoted=True)
    return dropped


def _write_text(path: Path, made: Path, format: str, goes: spans.Goes, *, requoted: bool = False) -> None:
    compression = formats.COMPRESSIONS.get(path.suffix.lower())
    with pa.input_stream(str(path), compression=compression) as opening:
        has_bom = opening.read(len(_BOM)) == _BOM
    with formats.open_text(path) as text, pa.output_stream(str(made), compression=compression) as out:
        if has_bom:
            out.write(_BOM)
        for piece in spans.without(text, format, goes, requoted=requoted):
            out.write(piece.encode("utf-8", "surrogateescape"))


def _write_parquet(path: Path, made: Path, description: ListDescription, goes: spans.Goes) -> None:
    """Writes a parquet file; a row is what its URL column says, whatever its encoding."""
    column, numbers = description.columns["url"], itertools.count(1)

    def judged(group: pa.Table) -> list[bool]:
        urls = chain.from_iterable(map(lists.text_values, group[column].chunks))
        return [goes(next(numbers), str(url)) for url in urls]

    parquet_rows.drop(path, made, judged)


def _with_width(description: ListDescription, path: Path) -> ListDescription:
    """Returns the description with what the first row of a file without header tells: it may be among those to go."""
    if description.header or description.format not in formats.DELIMITERS or path.name in description.widths:
        return description
    with formats.open_text(path) as text:
        num_cells = spans.width(text, description.format)
    return dataclasses.replace(description, widths={**description.widths, path.name: num_cells})


def _check(path: Path, made: Path, description: ListDescription, dropped: set[int]) -> None:
    if not _reads_alike(path, made, description, dropped):
        raise ValueError(
            f"{path}: without the rows that are taken down its other rows would be read otherwise; it was "
            "not changed: look for stray quotation marks in it"
        )


def _reads_alike(path: Path, made: Path, description: ListDescription, dropped: set[int]) -> bool:
    """Returns whether a file, but for some rows, and what was made of it have the same rows."""
    left = ((row, value) for row, value in _rows(path, description) if row not in dropped)
    pairs = zip_longest((value for _, value in left), (value for _, value in _rows(made, description)))
    return all(before == after for before, after in pairs)


def _rows(path: Path, description: ListDescription) -> Iterator[tuple[int, Any]]:
    for batch in lists.read_file(path, description):
        columns = [batch.reasons, *batch.values.values(), batch.given.to_pylist()]
        yield from zip(batch.numbers, map(repr, zip(*columns, strict=True)), strict=True)


def _tombstone(url: str, caption: str) -> dict[str, str]:
    hashes = {"url_sha256": _sha256(url), "host_sha256": _sha256(source.host_of(url))}
    return {"uid": records.uid_of(url, caption), **hashes}


def _urls(text: str) -> Iterator[str]:
    """Yields what may be the URL of a row that could not be read; JSON may write a slash as \\/."""
    for found in _URL.findall(text.replace("\\/", "/")):
        yield found
        yield found.rstrip(".;)]}\\")


def _host(url: str) -> str:
    try:
        return source.host_of(url)
    except ValueError:
        return ""


@functools.lru_cache(maxsize=1 << 16)
def _is_below(host: str, opted_out: frozenset[str]) -> bool:
    labels = host.split(".")
    return any(_sha256(".".join(labels[start:])) in opted_out for start in range(len(labels)))


def _sha256(text: str) -> str:
    return digests.sha256_bytes(text.encode("utf-8", "surrogatepass"))
