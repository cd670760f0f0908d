"""What became of one URL: a line of the store's index, and a row of its attempts table."""

import dataclasses
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from lineage import reasons
from pipelines.web import journal

_JSON = ("headers", "attempts", "consent")
"""Fields that are JSON text in the table."""
ATTEMPTS = pa.schema(
    [("uid", pa.string()), ("url", pa.string()), ("final_url", pa.string()), ("outcome", pa.string())]
    + [("reason", pa.string()), ("message", pa.string()), ("status", pa.int64()), ("headers", pa.string())]
    + [("sha256", pa.string()), ("bytes", pa.int64()), ("num_attempts", pa.int64()), ("seconds", pa.float64())]
    + [("fetched_at", pa.string()), ("copied_from", pa.string()), ("attempts", pa.string()), ("consent", pa.string())]
)
_UID = re.compile(rb'.*, "uid": "([^"]*)", "url": "')
"""Finds a line's uid, for parsing the line takes many times as long. Quotes inside of values are escaped."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FetchRecord:
    """What became of one URL: the facts of its fetch and where its body lies."""

    uid: str
    url: str
    outcome: str
    """ok, failed, or retry: a mark that the uid's earlier record no longer counts."""
    reason: str | None
    """One of lineage.reasons.DOWNLOAD, None where ok."""
    message: str
    """The error in words, for people."""
    status: int | None
    final_url: str
    headers: dict[str, str]
    """Response headers that matter later: type, validators, opt-outs."""
    sha256: str | None
    bytes: int | None
    num_attempts: int
    seconds: float
    """From the first attempt to the end of the last one, waits included."""
    fetched_at: str
    attempts: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """Of each: at, seconds (waits left out), status, reason, final_url. Records of an earlier form have none."""
    consent: list[str] = dataclasses.field(default_factory=list)
    """What the sites said about robots and mining: ids of records in store/consent."""
    copied_from: str | None = None
    """The earlier snapshot whose record this is."""
    warc: str | None = None
    """Segment below store/fetch, None where there is no body."""
    offset: int | None = None

    def as_line(self) -> dict[str, Any]:
        """Returns the fields as plain data."""
        return {name: getattr(self, name) for name in _FIELDS}

    def as_attempt(self) -> dict[str, Any]:
        """Returns the record's row of ATTEMPTS."""
        facts = {name: getattr(self, name) for name in ATTEMPTS.names}
        return facts | {name: json.dumps(facts[name], sort_keys=True) for name in _JSON}


_FIELDS = tuple(field.name for field in dataclasses.fields(FetchRecord))


def read_index(path: Path, uids: Collection[str] | None = None) -> Iterator[tuple[int, FetchRecord]]:
    """Yields (byte where its line begins, record) of an index's complete lines, of `uids` alone if given.

    Raises:
        ValueError: if a line is no record, naming the file and the line.
    """
    for line in journal.lines(path):
        found = _UID.match(line.content) if uids is not None else None
        if found is None or found[1].decode() in (uids or ()):
            yield line.start, _parsed(line.content, f"{path}:{line.number}")


def read_record(index: BinaryIO, start: int) -> FetchRecord:
    """Returns the record whose line begins at a byte of an open index.

    Raises:
        ValueError: if there is none, naming the file and the byte.
    """
    index.seek(start)
    return _parsed(index.readline(), f"{index.name}, byte {start}")


def _parsed(line: bytes, place: str) -> FetchRecord:
    try:
        record = FetchRecord(**json.loads(line))
        good = {"ok": record.reason is None, "retry": True, "failed": record.reason in reasons.DOWNLOAD}
        if not good[record.outcome]:
            raise ValueError(f"outcome {record.outcome} with reason {record.reason}")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{place}: no fetch record ({str(error)[:100]!r}); {journal.REMEDY}") from None
    return record
