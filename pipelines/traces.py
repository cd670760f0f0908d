"""What was taken down, looked for byte by byte: URLs, captions and pictures, whatever file holds them.

Looked for is what the rows of a project say that its next revision has as tombstones. Parquet, gzip and zstd are
unpacked first. A text that a row that stays has, too, or an evaluation set, or the code, is not told from theirs and
is not looked for; nor is one of less than MIN_BYTES, nor a picture that a row that stays has, or an evaluation set that
was not purged.
"""

import contextlib
import dataclasses
import html
import json
import mmap
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ahocorasick_rs
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage import digests, params, records
from pipelines import tar
from pipelines.lists.formats import COMPRESSIONS

MIN_BYTES = 8
WORKSPACE = ("data", "models", "results", "report", "provenance", "runs", ".work")
"""Folders of a project that are looked through."""
_SETS = ("data/sets", "data/benchmarks")
_OTHERS = ("pipelines", "lineage", "cyclip_model", "flows", "params.yaml", "data/concepts.txt", *_SETS)
"""Where texts stand that are nobody's: code, params, evaluation sets."""
_DEMO = "demo.json"
"""The file by which the demo's folder is known."""
_ANCHOR_BYTES, _STEP_BYTES, _MIN_DISTINCT = 32, 12, 12
"""A picture is found by bytes near its end that are no mere repetition, and then compared whole."""
_PIECE_BYTES = 1 << 26


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is looked for."""

    sha256: str
    num_bytes: int
    anchor: bytes
    """Some of its bytes."""
    num_after: int
    """How many bytes follow these."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traces:
    """What is looked for."""

    urls: list[str]
    captions: list[str]
    pictures: list[Picture]
    num_shared: int = 0
    """URLs and captions that are not looked for, because they stand elsewhere by right."""
    num_in_sets: int = 0
    """Pictures that are not looked for, because an evaluation set that was not purged has them, too."""

    def __str__(self) -> str:
        """Returns what is looked for in words."""
        numbers = f"{len(self.urls)} URLs, {len(self.captions)} captions and {len(self.pictures)} pictures"
        return (
            f"{numbers} ({self.num_shared} texts stand elsewhere by right, {self.num_in_sets} pictures in {_SETS[0]})"
        )


def between(before: Path, after: Path, sets: Iterable[str] = ()) -> Traces:
    """Returns what to look for after a project's next revision, `after`, has taken rows down.

    Args:
        sets: evaluation sets that were not purged.

    Raises:
        FileNotFoundError, ValueError: if source or raw data of either are missing or damaged.
    """
    urls, captions, pictures = set[str](), set[str](), dict[str, Picture]()
    stay: list[bytes] = []
    kept = _kept_pictures(after)
    for snapshot in params.names("snapshots", before / "params.yaml"):
        rows, left = (_texts(root / "data" / "source" / snapshot) for root in (before, after))
        gone = rows.filter(pc.invert(pc.is_in(rows["uid"], value_set=left["uid"].combine_chunks())))
        urls.update(gone["url"].to_pylist())
        captions.update(gone["caption"].to_pylist())
        rejected = _rejected(before, snapshot) - (remaining := _rejected(after, snapshot))
        urls.update(url for url, _ in rejected)
        captions.update(caption for _, caption in rejected)
        stay += [b"\n".join(text.encode() for text in left[name].to_pylist()) for name in ("url", "caption")]
        stay += [text.encode() for pair in remaining for text in pair]
        seen = _pictures(before / "data" / "raw" / snapshot, gone["uid"])
        pictures |= {picture.sha256: picture for picture in seen if picture.sha256 not in kept}
    texts = sorted(text for text in urls | captions if len(text.encode()) >= MIN_BYTES)
    shared = _shared(texts, stay, [after / name for name in _OTHERS])
    alone = [text for text in texts if text not in shared]
    found = Traces(
        urls=[text for text in alone if text in urls],
        captions=[text for text in alone if text in captions and text not in urls],
        pictures=list(pictures.values()),
        num_shared=len(urls | captions) - len(alone),
    )
    return _without_sets(found, [after / name / of for name in _SETS for of in sets])


def search(traces: Traces, places: Iterable[Path], leave_out: Collection[Path] = ()) -> Iterator[tuple[Path, str]]:
    """Yields each file below some places that holds something of what is looked for, and what that is."""
    matcher = _Matcher(traces)
    for path in _files(places, {path.resolve() for path in leave_out}):
        found = set[str]()
        for content in _contents(path, matcher.overlap_bytes):
            found |= {kind for kind, _ in matcher.match(content)}
        if found:
            yield path, f"{', '.join(sorted(found))} that were taken down"


def workspace(root: Path) -> tuple[list[Path], list[Path]]:
    """Returns the folders of a project to look through, and what of them is left out: the demo as it was laid down.

    Its websites are the web, its lists and its evaluation set what a user brings: copies outside of the project.
    """
    folders = [root / name for name in WORKSPACE]
    site = (params.read(root / "params.yaml").get("download") or {}).get("demo_site")
    if not site:
        return folders, []
    websites = root / site
    return folders, [websites.parent if (websites.parent / _DEMO).is_file() else websites]


class _Matcher:
    """Finds texts and pictures in bytes."""

    def __init__(self, traces: Traces) -> None:
        self._kind_of: dict[bytes, str] = {}
        self._pictures: dict[bytes, list[Picture]] = {}
        for kind, texts in (("captions", traces.captions), ("URLs", traces.urls)):
            self._kind_of |= {form: kind for text in texts for form in _forms(text)}
        for picture in traces.pictures:
            self._pictures.setdefault(picture.anchor, []).append(picture)
        self._needles = list(self._kind_of.keys() | self._pictures.keys())
        self._automaton = ahocorasick_rs.BytesAhoCorasick(self._needles) if self._needles else None
        longest = max([*map(len, self._needles), *(picture.num_bytes for picture in traces.pictures)], default=0)
        self.overlap_bytes = longest

    def match(self, content: bytes | mmap.mmap) -> Iterator[tuple[str, str]]:
        """Yields the kind of each thing found, and of a picture the sha256."""
        if self._automaton is None:
            return
        for number, _, end in self._automaton.find_matches_as_indexes(content, overlapping=True):
            needle = self._needles[number]
            if needle in self._kind_of:
                yield self._kind_of[needle], ""
            for picture in self._pictures.get(needle, []):
                stop = end + picture.num_after
                start = stop - picture.num_bytes
                if start >= 0 and digests.sha256_bytes(content[start:stop]) == picture.sha256:
                    yield "pictures", picture.sha256


def _without_sets(traces: Traces, sets: Iterable[Path]) -> Traces:
    """Returns what to look for without the pictures that some evaluation sets have."""
    matcher = _Matcher(dataclasses.replace(traces, urls=[], captions=[]))
    contents = (content for path in _files(sets, ()) for content in _contents(path, matcher.overlap_bytes))
    theirs = {sha256 for content in contents for _, sha256 in matcher.match(content)}
    pictures = [picture for picture in traces.pictures if picture.sha256 not in theirs]
    return dataclasses.replace(traces, pictures=pictures, num_in_sets=len(theirs))


def _forms(text: str) -> set[bytes]:
    """Returns a text as files may spell it: as it is, in JSON, in HTML, in csv."""
    spelled = {text, html.escape(text), html.escape(text, quote=False), text.replace('"', '""')}
    spelled |= {json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)}
    return {form.encode("utf-8", "surrogatepass") for form in spelled}


def _texts(source: Path) -> pa.Table:
    rows = records.read_table(source / "source.parquet", columns=["uid", "url", "caption"])
    return rows.filter(pc.is_valid(rows["url"]))


def _rejected(root: Path, snapshot: str) -> set[tuple[str, str]]:
    table = records.read_table(root / "data" / "source" / snapshot / "rejects.parquet", records.REJECTS)
    return {(row["url"] or "", row["caption"] or "") for row in table.select(["url", "caption"]).to_pylist()}


def _kept_pictures(root: Path) -> set[str]:
    """Returns the sha256 of every picture that a project has fetched and not taken down."""
    ledgers = sorted((root / "data" / "raw").glob("*/ledger.parquet"))
    return {sha for path in ledgers for sha in records.read_table(path, columns=["sha256"])["sha256"].to_pylist()}


def _pictures(raw: Path, uids: pa.ChunkedArray) -> Iterator[Picture]:
    """Yields pictures of a snapshot's raw data; those that are too small or too plain to be told are left out."""
    ledger = records.read_table(raw / "ledger.parquet", records.LEDGER)
    rows = ledger.filter(pc.and_(pc.is_in(ledger["uid"], value_set=uids.combine_chunks()), pc.is_valid(ledger["key"])))
    for row in rows.to_pylist():
        with tar.open_shard(raw / tar.shard_name(row["shard"])) as file:
            content = tar.read_at(file, row["offset"], row["bytes"])
        starts = range(len(content) - _ANCHOR_BYTES - _STEP_BYTES, -1, -_STEP_BYTES)
        anchors = ((content[start : start + _ANCHOR_BYTES], start + _ANCHOR_BYTES) for start in starts)
        for anchor, end in anchors:
            if len(set(anchor)) >= _MIN_DISTINCT:
                yield Picture(row["sha256"], len(content), anchor, len(content) - end)
                break


def _shared(texts: Sequence[str], stay: Iterable[bytes], others: Iterable[Path]) -> set[str]:
    """Returns those of some texts that stand elsewhere, too, on their own or within something longer."""
    if not texts:
        return set()
    automaton = ahocorasick_rs.BytesAhoCorasick([text.encode() for text in texts])
    contents: Iterator[Any] = iter(stay)
    found = {n for content in contents for n, _, _ in automaton.find_matches_as_indexes(content, overlapping=True)}
    for path in _files(others, set()):
        for content in _contents(path, 0):
            found |= {n for n, _, _ in automaton.find_matches_as_indexes(content, overlapping=True)}
    return {texts[number] for number in found}


def _files(places: Iterable[Path], leave_out: Collection[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_file():
            yield place
        for folder, names, inside in os.walk(place):
            names[:] = sorted(name for name in names if (Path(folder) / name).resolve() not in leave_out)
            yield from (Path(folder) / name for name in sorted(inside) if (Path(folder) / name).is_file())


def _contents(path: Path, overlap_bytes: int) -> Iterator[Any]:
    """Yields what a file holds: its bytes, and what they unpack to."""
    if not path.is_file() or not path.stat().st_size:  # gone since it was listed, or empty
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        yield content
    if path.suffix == ".parquet":
        with contextlib.suppress(pa.ArrowInvalid):  # a pointer into a bucket
            yield from _cells(path)
    if path.suffix in COMPRESSIONS:
        yield from _unpacked(path, overlap_bytes)


def _cells(path: Path) -> Iterator[bytes]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for column in file.read_row_group(group).columns:
                values = (value for value in column.to_pylist() if isinstance(value, str | bytes | list | dict))
                yield b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)


def _unpacked(path: Path, overlap_bytes: int) -> Iterator[bytes]:
    held = b""
    with pa.input_stream(str(path), compression=COMPRESSIONS[path.suffix]) as stream:
        while piece := stream.read(_PIECE_BYTES):
            yield held + piece
            held = (held + piece)[-overlap_bytes:] if overlap_bytes else b""
