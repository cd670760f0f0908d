"""Takes records out of a store of journals: their lines, their bodies and their rows of the attempts table.

A body goes by a copy of its segment with an empty record of the same length in its place, so that every other body
stays where the lines of all snapshots say. Order: attempts, bodies, lines. A line goes last: killed at any point, the
store can be read, and the next run finds by the lines that are left what is still to be done.
"""

import contextlib
import itertools
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage import files
from pipelines.web import journal, warc

Goes = Callable[[str, dict[str, Any]], bool]
"""Snapshot and content of a line -> whether it is to go."""
Place = tuple[str, int]
"""Segment below the journals' root, and offset."""
_COPY_BYTES = 1 << 20
_SEGMENT = re.compile(r"[^/.][^/]*/[0-9]{5}\.warc\.gz")


class Purged(NamedTuple):
    """What went from a store."""

    lines: int
    bodies: int


def purge(root: Path, goes: Goes, *, keep_numbers: bool = False) -> Purged:
    """Takes lines and their bodies out of the journals `root`/S; done already, it changes nothing.

    A body that a line that stays speaks of stays, too. So do journals without such a line, and what is in them.

    Args:
        keep_numbers: leaves an empty line in the place of one that goes: others are known by their number.

    Raises:
        ValueError: if a journal that is to be changed is open for writing, or has a line that is no JSON, naming it.
    """
    marked = {name: found for name in _names(root) if (found := set(_marked(root, name, goes)))}
    if not marked:
        return Purged(0, 0)
    with contextlib.ExitStack() as held:
        owners = {_owner(place) for places in marked.values() for place in places if place}
        for name in sorted(set(marked) | {name for name in owners if (root / name).is_dir()}):
            held.enter_context(contextlib.closing(journal.Journal(root, name)))
        # again, for only now nobody else writes
        marked = {name: set(_marked(root, name, goes)) for name in marked}
        gone = {place for places in marked.values() for place in places if place}
        stay = _staying(root, goes, {segment for segment, _ in gone})
        for name in marked:
            _clear_partials(root / name)
        num_bodies = 0
        for segment in sorted({segment for segment, _ in gone}):
            offsets = {offset for other, offset in gone if other == segment} - stay[segment]
            num_bodies += len(offsets)
            _blank(root / segment, offsets, stay[segment])
        return Purged(sum(_drop_lines(root, name, goes, keep_numbers) for name in marked), num_bodies)


def purge_attempts(path: Path, uids: Collection[str]) -> int:
    """Takes the rows of some uids out of an attempts table, by a rename, and returns how many went."""
    _clear_partials(path.parent)
    if not path.is_file():
        return 0
    table = pq.read_table(path, partitioning=None)
    left = table.filter(pc.invert(pc.is_in(table["uid"], value_set=pa.array(sorted(uids), pa.string()))))
    if left.num_rows < table.num_rows:
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        pq.write_table(left, partial, compression="zstd", store_schema=False)
        os.replace(partial, path)
    return int(table.num_rows - left.num_rows)


def named(root: Path, goes: Goes) -> dict[str, set[str]]:
    """Returns {snapshot: uids} of the lines of the journals below `root` that are to go."""
    found: dict[str, set[str]] = {}
    for name in _names(root):
        found[name] = {str(content.get("uid")) for content in _contents(root, name) if goes(name, content)}
    return found


def _names(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob("*/index.jsonl"))


def _contents(root: Path, name: str) -> Iterator[dict[str, Any]]:
    path = root / name / "index.jsonl"
    for line in journal.lines(path):
        yield _parsed(line.content, f"{path}:{line.number}")


def _parsed(line: bytes, place: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
        if not isinstance(content, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: no record ({str(error)[:100]!r}); {journal.REMEDY}") from None
    return content


def _place(content: dict[str, Any]) -> Place | None:
    segment, offset = content.get("warc"), content.get("offset")
    if isinstance(segment, str) and _SEGMENT.fullmatch(segment) and isinstance(offset, int):
        return segment, offset
    return None


def _owner(place: Place) -> str:
    return place[0].partition("/")[0]


def _marked(root: Path, name: str, goes: Goes) -> Iterator[Place | None]:
    return (_place(content) for content in _contents(root, name) if goes(name, content))


def _staying(root: Path, goes: Goes, segments: Collection[str]) -> dict[str, set[int]]:
    """Returns {segment: offsets} of the bodies that lines that stay speak of."""
    found: dict[str, set[int]] = defaultdict(set)
    for name in _names(root):
        for content in _contents(root, name):
            place = _place(content)
            if place and place[0] in segments and not goes(name, content):
                found[place[0]].add(place[1])
    return found


def _blank(path: Path, offsets: Collection[int], stay: Collection[int]) -> None:
    """Puts empty records in the place of those at `offsets`; what follows the last that stays is cut off.

    Nothing speaks of what follows but the lines that go: a killed run may have left a body there.
    """
    if not path.is_file():
        return
    if not stay:
        path.unlink()
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    bounds = sorted([*offsets, *stay, path.stat().st_size])
    with path.open("rb") as source, partial.open("wb") as target:
        if bounds[0]:  # what an earlier takedown took out
            target.write(warc.blank(bounds[0]))
        for start, end in itertools.pairwise(bounds):
            if start in stay:
                source.seek(start)
                _copy(source, target, (_end(path, start, end) if start == max(stay) else end) - start)
            elif start < max(stay):
                target.write(warc.blank(end - start))
        target.flush()
        os.fsync(target.fileno())
    os.replace(partial, path)


def _end(path: Path, start: int, bound: int) -> int:
    """Returns where a record ends; of a damaged one nothing is cut off."""
    try:
        return warc.end_of(path, start)
    except ValueError:
        return bound


def _copy(source: BinaryIO, target: BinaryIO, num_bytes: int) -> None:
    while num_bytes > 0 and (chunk := source.read(min(num_bytes, _COPY_BYTES))):
        target.write(chunk)
        num_bytes -= len(chunk)


def _drop_lines(root: Path, name: str, goes: Goes, keep_numbers: bool) -> int:
    """Writes an index anew without the lines that go, by a rename, and returns how many went."""
    index, num_gone = root / name / "index.jsonl", 0
    partial = index.with_name(f".{index.name}.{os.getpid()}.partial")
    with index.open("rb") as source, partial.open("wb") as target:
        for number, line in enumerate(source, 1):
            is_gone = line != b"\n" and goes(name, _parsed(line, f"{index}:{number}"))
            num_gone += is_gone
            target.write((b"\n" if keep_numbers else b"") if is_gone else line)
        target.flush()
        os.fsync(target.fileno())
    os.replace(partial, index)
    return num_gone


def _clear_partials(folder: Path) -> None:
    for left in folder.glob(".*.partial"):
        files.remove(left)
