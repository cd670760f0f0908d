"""Texts and pictures looked for in every file of a project, also in what its files unpack to."""

import gzip
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import ahocorasick_rs
import pyarrow.parquet as pq

PLACES = ("data", "models", "results", "report", "provenance", "runs", "store", ".work", ".worktrees")


def forms(path: Path) -> bytes:
    """Returns a file's bytes, and what they unpack to."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        return b"\n".join([content, *_values(pq.ParquetFile(path).read().to_pylist())])
    return content + (gzip.decompress(content) if path.suffix == ".gz" and content else b"")


def holding(
    folder: Path, wanted: Mapping[str, bytes], places: Collection[str] = PLACES, leave_out: Collection[str] = ()
) -> dict[str, list[str]]:
    """Returns {what: files} of things that stand somewhere below a folder."""
    names, found = list(wanted), dict[str, set[str]]()
    automaton = ahocorasick_rs.BytesAhoCorasick([wanted[name] for name in names])
    left_out = [folder / name for name in leave_out]
    for path in (path for place in places for path in (folder / place).rglob("*") if path.is_file()):
        if not any(path.is_relative_to(other) for other in left_out):
            for number, _, _ in automaton.find_matches_as_indexes(forms(path), overlapping=True):
                found.setdefault(names[number], set()).add(str(path.relative_to(folder)))
    return {name: sorted(files) for name, files in found.items()}


def _values(rows: list[dict[str, Any]]) -> Iterator[bytes]:
    for row in rows:
        yield from (value if isinstance(value, bytes) else str(value).encode() for value in row.values())
