"""A folder that only grows: JSON lines in index.jsonl, and the bodies they speak of in WARC segments beside it.

An entry is complete once its line ends in a newline, and its body is written first. What a killed run left
half-written is never read.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from yarl import URL

from lineage import digests
from pipelines.web import warc

_TAIL_BYTES = 1 << 16
REMEDY = "bring the store back from a backup, or move this snapshot's folder away to fetch it anew"


class Journal:
    """The folder `root/name`, open for appending by one process.

    Attributes:
        folder: where it lies.
    """

    def __init__(self, root: Path, name: str) -> None:
        """Opens, or begins, the journal; a half-written last line is cut off.

        Raises:
            ValueError: if another process has it open.
        """
        self._root, self._name = root, name
        self.folder = root / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._index = _locked(self.index)
        _cut_to_whole_lines(self._index)
        self._segment: BinaryIO | None = None

    @property
    def index(self) -> Path:
        """The file of lines."""
        return self.folder / "index.jsonl"

    def append(self, entry: Mapping[str, Any]) -> int:
        """Appends a line, which then counts, whatever becomes of this process; returns the byte where it begins."""
        start = self._index.tell()
        line = json.dumps(entry, sort_keys=True, ensure_ascii=False, check_circular=False)
        self._index.write(line.encode() + b"\n")
        self._index.flush()
        return start

    def add_body(self, url: str, *, status: int | None, headers: Mapping[str, str], body: bytes) -> tuple[str, int]:
        """Appends a body to this run's own segment; returns the segment's place below the root, and the offset."""
        if self._segment is None:
            named = self.folder.glob("[0-9][0-9][0-9][0-9][0-9].warc.gz")
            number = 1 + max((int(path.name[:5]) for path in named), default=-1)
            self._segment = (self.folder / f"{number:05d}.warc.gz").open("xb")
        uri = str(URL(url))  # tools look for lower-case http and https alone
        record = warc.encode(uri, status=status, headers=headers, body=body, sha256=digests.sha256_bytes(body))
        offset = self._segment.tell()
        self._segment.write(record)
        self._segment.flush()
        return f"{self._name}/{Path(self._segment.name).name}", offset

    def close(self) -> None:
        """Closes the files."""
        self._index.close()
        if self._segment is not None:
            self._segment.close()


class Line(NamedTuple):
    """One complete line of an index."""

    number: int
    """From 1."""
    start: int
    """Byte where it begins."""
    content: bytes


def lines(index: Path) -> Iterator[Line]:
    """Yields the complete lines of an index; none where there is no file."""
    if not index.exists():
        return
    with index.open("rb") as file:
        start = 0
        for number, content in enumerate(file, 1):
            if content.endswith(b"\n") and content != b"\n":
                yield Line(number, start, content)
            start += len(content)


def num_lines(index: Path) -> int:
    """Returns how many lines an index has, empty ones in the place of what was taken down too."""
    with index.open("rb") as file:
        return sum(1 for _ in file)


def read_body(root: Path, segment: str, offset: int, sha256: str | None) -> bytes:
    """Returns a body.

    Raises:
        ValueError: if the bytes are damaged, naming the segment and the offset.
    """
    path = root / segment
    try:
        body = warc.read_body(path, offset)
    except (OSError, ValueError) as error:
        what = type(error).__name__ if isinstance(error, OSError) else str(error)
        raise ValueError(f"{path}: no record at byte {offset} ({what}); {REMEDY}") from None
    if digests.sha256_bytes(body) != sha256:
        raise ValueError(f"{path}: the record at byte {offset} has another sha256; {REMEDY}")
    return body


def _locked(path: Path) -> BinaryIO:
    """Returns an index open and locked for appending."""
    while True:
        file = path.open("a+b")
        try:  # checkouts share the store: the locks of their scratch folders do not keep them apart
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise ValueError(f"{path}: another download of this snapshot is at work; wait for it to end") from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # a takedown has put another file in its place since


def _cut_to_whole_lines(file: BinaryIO) -> None:
    """Cuts off what follows the last newline of a file, and goes to its end."""
    size = whole = file.seek(0, os.SEEK_END)
    while whole:
        start = max(0, whole - _TAIL_BYTES)
        file.seek(start)
        newline = file.read(whole - start).rfind(b"\n")
        if newline >= 0:
            whole = start + newline + 1
            break
        whole = start
    if whole != size:
        file.truncate(whole)
    file.seek(0, os.SEEK_END)
