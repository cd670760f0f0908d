"""The append-only store of what was fetched: every response goes in once and is answered from there ever after.

    store/fetch/S/index.jsonl       one line per finished (snapshot, uid): outcome, facts, where the body lies
    store/fetch/S/NNNNN.warc.gz     the responses, one WARC record each; a new segment for every run
    store/fetch/S/complete.json     present once every uid of S has its line
    store/consent/S/                the same of what sites say about robots and mining; see pipelines.web.consent
    store/attempts/S/attempts.parquet   the facts of the fetches as a table

No stage deletes anything here.
"""

import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lineage import digests, files, reasons
from pipelines.web import journal

_REFUSED_BY_PARAMS = frozenset({"address_not_allowed"})
"""Reasons that say nothing of the web: another download.allow_addresses may give another answer."""
_ROWS_AT_ONCE = 1 << 16
_JSON = ("headers", "attempts", "consent")
"""Fields that are JSON text in the table."""
ATTEMPTS = pa.schema(
    [("uid", pa.string()), ("url", pa.string()), ("final_url", pa.string()), ("outcome", pa.string())]
    + [("reason", pa.string()), ("message", pa.string()), ("status", pa.int64()), ("headers", pa.string())]
    + [("sha256", pa.string()), ("bytes", pa.int64()), ("num_attempts", pa.int64()), ("seconds", pa.float64())]
    + [("fetched_at", pa.string()), ("copied_from", pa.string()), ("attempts", pa.string()), ("consent", pa.string())]
)


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


_FIELDS = tuple(field.name for field in dataclasses.fields(FetchRecord))


class FetchStore:
    """The records of one snapshot, open for reading and appending by one process."""

    def __init__(self, root: Path, snapshot: str, *, earlier: Sequence[str] = (), replay: bool = False) -> None:
        """Opens, or begins, the snapshot's part of the store at `root`.

        Args:
            earlier: the snapshots listed before, whose bodies may be looked up too.
            replay: nothing is written, not even a lock, and the records count as they are, those of our own refusals
                too: nothing is to be asked anew.

        Raises:
            ValueError: if another process has it open, or the index is damaged.
        """
        self.root, self.snapshot, self._earlier = root, snapshot, earlier
        self._fetch = root / "fetch"
        self._journal = None if replay else journal.Journal(self._fetch, snapshot)
        try:
            self._records = _counting(_read_index(self._fetch / snapshot / "index.jsonl"), replay=replay)
        except ValueError:
            self.close()
            raise
        self._by_url = {record.url: uid for uid, record in self._records.items() if record.copied_from is None}
        self._by_sha256: dict[str, tuple[str, int]] | None = None

    def __len__(self) -> int:
        """Returns the number of records that count."""
        return len(self._records)

    def __contains__(self, uid: str) -> bool:
        return uid in self._records

    def __getitem__(self, uid: str) -> FetchRecord:
        return self._records[uid]

    def put(self, record: FetchRecord, body: bytes | None) -> FetchRecord:
        """Appends a finished record, its body first, and returns it with the body's place.

        A record that has its place already, as another one's copy, keeps it.

        Raises:
            ValueError: if the uid has a record already.
        """
        if record.uid in self._records:
            raise ValueError(f"{self._folder}: uid {record.uid} has a record already; the store only grows")
        if body is not None:
            assert self._journal is not None, "a store that is replayed takes no new bodies"
            head = {"status": record.status, "headers": record.headers}
            warc, offset = self._journal.add_body(record.final_url, body=body, **head)  # type: ignore[arg-type]
            record = dataclasses.replace(record, warc=warc, offset=offset)
        self._append(record)
        self._records[record.uid] = record
        if record.copied_from is None:
            self._by_url[record.url] = record.uid
        return record

    def same_url(self, url: str) -> FetchRecord | None:
        """Returns a record of this snapshot's own fetch of the URL, under whichever uid; None where there is none."""
        uid = self._by_url.get(url)
        return None if uid is None else self._records.get(uid)

    def body(self, uid: str) -> bytes:
        """Returns the body of an ok record.

        Raises:
            KeyError: if there is none.
            ValueError: if the stored bytes are damaged, naming the segment and the offset.
        """
        record = self._records[uid]
        if record.warc is None or record.offset is None:
            raise KeyError(uid)
        return journal.read_body(self._fetch, record.warc, record.offset, record.sha256)

    def find_by_sha256(self, sha256: str) -> bytes | None:
        """Returns a body with these bytes, of this snapshot or an earlier one; None where the store has none.

        Raises:
            ValueError: if an index or the stored bytes are damaged.
        """
        if self._by_sha256 is None:
            self._by_sha256 = {}
            for snapshot in (self.snapshot, *self._earlier):
                for record in _read_index(self._fetch / snapshot / "index.jsonl"):
                    self._note_place(record)
        place = self._by_sha256.get(sha256)
        return journal.read_body(self._fetch, *place, sha256) if place else None

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

    def copy_from(self, earlier: str, uids: Iterable[str]) -> int:
        """Copies the ok records of `uids` from an earlier snapshot where this one has none; returns how many.

        Failures are never copied: what failed earlier is tried again.
        """
        wanted = {uid for uid in uids if uid not in self._records}
        found = [
            record
            for record in _counting(_read_index(self._fetch / earlier / "index.jsonl")).values()
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
        self._write_attempts(wanted, self.root / "attempts" / self.snapshot / "attempts.parquet")
        content = {"rows": len(wanted), "uids_sha256": digests.sha256_bytes("\n".join(wanted).encode())}
        files.write_json(self._folder / "complete.json", content)

    def close(self) -> None:
        """Closes the files."""
        if self._journal is not None:
            self._journal.close()

    @property
    def _folder(self) -> Path:
        return self._fetch / self.snapshot

    def _write_attempts(self, uids: Sequence[str], path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        with pq.ParquetWriter(partial, ATTEMPTS, compression="zstd", store_schema=False) as writer:
            for start in range(0, len(uids), _ROWS_AT_ONCE):
                rows = [_attempt(self._records[uid]) for uid in uids[start : start + _ROWS_AT_ONCE]]
                writer.write_table(pa.Table.from_pylist(rows, schema=ATTEMPTS))
        os.replace(partial, path)

    def _append(self, record: FetchRecord) -> None:
        if self._journal is not None:
            self._journal.append({name: getattr(record, name) for name in _FIELDS})
        if self._by_sha256 is not None:
            self._note_place(record)

    def _note_place(self, record: FetchRecord) -> None:
        assert self._by_sha256 is not None
        if record.sha256 is not None and record.warc is not None and record.offset is not None:
            self._by_sha256.setdefault(record.sha256, (record.warc, record.offset))


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


def reader(store_root: Path, snapshot: str) -> Callable[[str], bytes]:
    """Returns a function from uid to body that writes nothing and raises as FetchStore.body does."""
    return FetchStore(store_root, snapshot, replay=True).body


def is_complete(store_root: Path, snapshot: str) -> bool:
    """Returns whether every uid of the snapshot has its record."""
    return (store_root / "fetch" / snapshot / "complete.json").exists()


def _read_index(path: Path) -> Iterator[FetchRecord]:
    """Yields the complete records of an index; a half-written last line is left out."""
    for number, line in journal.lines(path):
        yield _parsed(path, number, line)


def _parsed(path: Path, number: int, line: bytes) -> FetchRecord:
    try:
        record = FetchRecord(**json.loads(line))
        good = {"ok": record.reason is None, "retry": True, "failed": record.reason in reasons.DOWNLOAD}
        if not good[record.outcome]:
            raise ValueError(f"outcome {record.outcome} with reason {record.reason}")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}:{number}: no fetch record ({str(error)[:100]!r}); {journal.REMEDY}") from None
    return record


def _counting(found: Iterable[FetchRecord], *, replay: bool = False) -> dict[str, FetchRecord]:
    """Returns the record that counts of each uid: its last, unless that is a mark, or a refusal by our own params."""
    last = {record.uid: record for record in found}
    return {
        uid: record
        for uid, record in last.items()
        if record.outcome != "retry" and (replay or record.reason not in _REFUSED_BY_PARAMS)
    }


def _attempt(record: FetchRecord) -> dict[str, Any]:
    facts = {name: getattr(record, name) for name in ATTEMPTS.names}
    return facts | {name: json.dumps(facts[name], sort_keys=True) for name in _JSON}
