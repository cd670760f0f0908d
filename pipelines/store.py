"""The append-only store of what was fetched: every response goes in once and is answered from there ever after.

    store/fetch/S/index.jsonl       one line per finished (snapshot, uid): outcome, facts, where the body lies
    store/fetch/S/NNNNN.warc.gz     the responses, one WARC record each; a new segment for every run
    store/fetch/S/complete.json     present once every uid of S has its line
    store/attempts/S/attempts.parquet   the same facts as a table

A record is complete once its index line ends in a newline: the WARC record is written first. What a killed run left
half-written is never read. No stage deletes anything here.
"""

import dataclasses
import fcntl
import io
import json
import os
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter
from yarl import URL

from lineage import digests, files, reasons, records

_REFUSED_BY_PARAMS = frozenset({"address_not_allowed"})
"""Reasons that say nothing of the web: another download.allow_addresses may give another answer."""
ATTEMPTS = pa.schema(
    [("uid", pa.string()), ("url", pa.string()), ("final_url", pa.string()), ("outcome", pa.string())]
    + [("reason", pa.string()), ("message", pa.string()), ("status", pa.int64()), ("headers", pa.string())]
    + [("sha256", pa.string()), ("bytes", pa.int64()), ("num_attempts", pa.int64()), ("seconds", pa.float64())]
    + [("fetched_at", pa.string()), ("copied_from", pa.string())]
)
_REMEDY = "bring the store back from a backup, or move this snapshot's folder away to fetch it anew"


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
    fetched_at: str
    copied_from: str | None = None
    """The earlier snapshot whose record this is."""
    warc: str | None = None
    """Segment below store/fetch, None where there is no body."""
    offset: int | None = None


class FetchStore:
    """The records of one snapshot, open for reading and appending by one process."""

    def __init__(self, root: Path, snapshot: str) -> None:
        """Opens, or begins, the snapshot's part of the store at `root`.

        Raises:
            ValueError: if another process has it open, or the index is damaged.
        """
        self._root, self._snapshot = root, snapshot
        self._folder = root / "fetch" / snapshot
        self._folder.mkdir(parents=True, exist_ok=True)
        self._index, found = _open_index(self._folder / "index.jsonl")
        self._records = _counting(found)
        self._segment: BinaryIO | None = None

    def __contains__(self, uid: str) -> bool:
        return uid in self._records

    def __getitem__(self, uid: str) -> FetchRecord:
        return self._records[uid]

    def put(self, record: FetchRecord, body: bytes | None) -> FetchRecord:
        """Appends a finished record, its body first, and returns it with the body's place.

        Raises:
            ValueError: if the uid has a record already.
        """
        if record.uid in self._records:
            raise ValueError(f"{self._folder}: uid {record.uid} has a record already; the store only grows")
        if body is not None:
            warc, offset = self._write_body(record, body)
            record = dataclasses.replace(record, warc=warc, offset=offset)
            self._read(record)  # what does not read back must not count as kept
        self._append(record)
        self._records[record.uid] = record
        return record

    def body(self, uid: str) -> bytes:
        """Returns the body of an ok record.

        Raises:
            ValueError: if the stored bytes are damaged, naming the segment and the offset.
        """
        return self._read(self._records[uid])

    def expect(self, uids: Iterable[str]) -> None:
        """Takes the mark of completeness away where some of `uids` has no record yet."""
        if any(uid not in self._records for uid in uids):
            (self._folder / "complete.json").unlink(missing_ok=True)

    def retry_failed(self) -> int:
        """Marks every failed record to be fetched anew; returns how many. The records stay, as evidence."""
        failed = [record for record in self._records.values() if record.outcome == "failed"]
        for record in failed:
            self._append(dataclasses.replace(record, outcome="retry", reason=None))
            del self._records[record.uid]
        return len(failed)

    def _append(self, record: FetchRecord) -> None:
        line = json.dumps(dataclasses.asdict(record), sort_keys=True, ensure_ascii=False)
        self._index.write(line.encode() + b"\n")
        self._index.flush()

    def _read(self, record: FetchRecord) -> bytes:
        assert record.warc is not None and record.offset is not None
        path = self._root / "fetch" / record.warc
        try:
            with path.open("rb") as file:
                file.seek(record.offset)
                content = next(iter(ArchiveIterator(file))).content_stream().read()
        except (OSError, EOFError, StopIteration, ValueError, zlib.error, ArchiveLoadFailed) as error:
            what = type(error).__name__  # its text may be the file's bytes
            raise ValueError(f"{path}: no record at byte {record.offset} ({what}); {_REMEDY}") from None
        if digests.sha256_bytes(content) != record.sha256:
            raise ValueError(f"{path}: the record at byte {record.offset} has another sha256; {_REMEDY}")
        return bytes(content)

    def copy_from(self, earlier: str, uids: Iterable[str]) -> int:
        """Copies the ok records of `uids` from an earlier snapshot where this one has none; returns how many.

        Failures are never copied: what failed earlier is tried again.
        """
        wanted = {uid for uid in uids if uid not in self._records}
        found = [
            record
            for record in _counting(_read_index(self._root / "fetch" / earlier / "index.jsonl")).values()
            if record.uid in wanted and record.outcome == "ok"
        ]
        for record in found:
            origin = record.copied_from or earlier
            self.put(dataclasses.replace(record, copied_from=origin), None)
        return len(found)

    def mark_complete(self, uids: Iterable[str]) -> None:
        """Notes that every uid of the snapshot has its record, and writes the attempts table."""
        wanted = sorted(uids)
        missing = [uid for uid in wanted if uid not in self._records]
        assert not missing, f"{len(missing)} uids without a record"
        rows = [_attempt(self._records[uid]) for uid in wanted]
        table = pa.Table.from_pylist(rows, schema=ATTEMPTS)
        records.write_table(table, self._root / "attempts" / self._snapshot / "attempts.parquet")
        content = {"rows": len(wanted), "uids_sha256": digests.sha256_bytes("\n".join(wanted).encode())}
        files.write_json(self._folder / "complete.json", content)

    def close(self) -> None:
        """Closes the files."""
        self._index.close()
        if self._segment is not None:
            self._segment.close()

    def _write_body(self, record: FetchRecord, body: bytes) -> tuple[str, int]:
        if self._segment is None:
            named = self._folder.glob("[0-9][0-9][0-9][0-9][0-9].warc.gz")
            number = 1 + max((int(path.name[:5]) for path in named), default=-1)
            self._segment = (self._folder / f"{number:05d}.warc.gz").open("xb")
        offset = self._segment.tell()
        writer = WARCWriter(self._segment, gzip=True)
        head = StatusAndHeaders(f"{record.status} -", list(record.headers.items()), protocol="HTTP/1.1")
        uri = str(URL(record.final_url))  # warcio reads HTTP headers back for lower-case http and https alone
        warc = writer.create_warc_record(uri, "response", payload=io.BytesIO(body), http_headers=head)
        writer.write_record(warc)
        warc.raw_stream.close()  # by now a temporary file of warcio's
        self._segment.flush()
        return f"{self._snapshot}/{Path(self._segment.name).name}", offset


def root() -> Path:
    """Returns the store's folder: CLIPLINE_STORE, or `store` at the main checkout, which all worktrees share."""
    named = os.environ.get("CLIPLINE_STORE")
    if named:
        return Path(named)
    done = subprocess.run(
        ["git", "rev-parse", "--path-format=absolute", "--git-common-dir"], capture_output=True, text=True
    )
    main_checkout = Path(done.stdout.strip()).parent if done.returncode == 0 else Path.cwd()
    return main_checkout / "store"


def is_complete(store_root: Path, snapshot: str) -> bool:
    """Returns whether every uid of the snapshot has its record."""
    return (store_root / "fetch" / snapshot / "complete.json").exists()


def _open_index(path: Path) -> tuple[BinaryIO, list[FetchRecord]]:
    """Returns an index open and locked for appending, and its records."""
    file = path.open("ab")
    try:  # checkouts share the store: the locks of their scratch folders do not keep them apart
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file, _read_index(path, repair=True)
    except BlockingIOError:
        file.close()
        raise ValueError(f"{path}: another download of this snapshot is at work; wait for it to end") from None
    except ValueError:
        file.close()
        raise


def _read_index(path: Path, *, repair: bool = False) -> list[FetchRecord]:
    """Returns the complete records of an index; a half-written last line is left out, and cut off with `repair`."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if repair and len(whole) != len(content):
        os.truncate(path, len(whole))
    return [_parsed(path, number, line) for number, line in enumerate(whole.split(b"\n"), 1) if line]


def _parsed(path: Path, number: int, line: bytes) -> FetchRecord:
    try:
        record = FetchRecord(**json.loads(line))
        good = {"ok": record.reason is None, "retry": True, "failed": record.reason in reasons.DOWNLOAD}
        if not good[record.outcome]:
            raise ValueError(f"outcome {record.outcome} with reason {record.reason}")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}:{number}: no fetch record ({str(error)[:100]!r}); {_REMEDY}") from None
    return record


def _counting(found: Iterable[FetchRecord]) -> dict[str, FetchRecord]:
    """Returns the record that counts of each uid: its last, unless that is a mark, or a refusal by our own params."""
    last = {record.uid: record for record in found}
    return {
        uid: record
        for uid, record in last.items()
        if record.outcome != "retry" and record.reason not in _REFUSED_BY_PARAMS
    }


def _attempt(record: FetchRecord) -> dict[str, Any]:
    facts = {name: getattr(record, name) for name in ATTEMPTS.names if name != "headers"}
    return {**facts, "headers": json.dumps(record.headers, sort_keys=True)}
