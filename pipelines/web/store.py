"""The append-only store of what was fetched: every response goes in once and is answered from there ever after.

    store/fetch/S/index.jsonl       one line per finished (snapshot, uid): outcome, facts, where the body lies
    store/fetch/S/NNNNN.warc.gz     the responses, one WARC record each; a new segment for every run
    store/fetch/S/complete.json     present once every uid of S has its line
    store/consent/S/                the same of what sites say about robots and mining; see pipelines.web.consent
    store/attempts/S/attempts.parquet   the facts of the fetches as a table

No stage deletes anything here; a takedown does, by pipelines.web.purge.
"""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from lineage import digests, files
from pipelines.web import journal
from pipelines.web.fetch_record import ATTEMPTS, FetchRecord, read_index, read_record

_REFUSED_BY_PARAMS = frozenset({"address_not_allowed"})
"""Reasons that say nothing of the web: another download.allow_addresses may give another answer."""
_ROWS_AT_ONCE = 1 << 16


class Known(NamedTuple):
    """What is held in memory of a record: a snapshot may have millions."""

    reason: str | None
    """One of lineage.reasons.DOWNLOAD, None where ok."""
    sha256: str | None
    warc: str | None
    offset: int | None
    line: int
    """Byte of the index where its line begins."""


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
        self._known: dict[str, Known] = {}
        self._by_url: dict[int, str] = {}
        self._by_sha256: dict[str, tuple[str, int]] | None = None
        self._unwritten: dict[str, FetchRecord] = {}
        """Copies that a replay made."""
        try:
            for line, record in read_index(self._index):
                self._note(record, line)
                if record.reason in _REFUSED_BY_PARAMS and not replay:
                    del self._known[record.uid]
        except ValueError:
            self.close()
            raise

    def __len__(self) -> int:
        """Returns the number of records that count."""
        return len(self._known)

    def __contains__(self, uid: str) -> bool:
        return uid in self._known

    def __getitem__(self, uid: str) -> FetchRecord:
        known = self._known[uid]
        if uid in self._unwritten:
            return self._unwritten[uid]
        with self._index.open("rb") as index:
            return read_record(index, known.line)

    def known(self, uid: str) -> Known:
        """Returns what is known of a record without reading it."""
        return self._known[uid]

    def put(self, record: FetchRecord, body: bytes | None) -> FetchRecord:
        """Appends a finished record, its body first, and returns it with the body's place.

        A record that has its place already, as another one's copy, keeps it.

        Raises:
            ValueError: if the uid has a record already.
        """
        if record.uid in self._known:
            raise ValueError(f"{self._folder}: uid {record.uid} has a record already; the store only grows")
        if body is not None:
            assert self._journal is not None, "a store that is replayed takes no new bodies"
            head = {"status": record.status, "headers": record.headers}
            warc, offset = self._journal.add_body(record.final_url, body=body, **head)  # type: ignore[arg-type]
            record = dataclasses.replace(record, warc=warc, offset=offset)
        self._append(record)
        return record

    def same_url(self, url: str) -> FetchRecord | None:
        """Returns a record of this snapshot's own fetch of the URL, under whichever uid; None where there is none."""
        uid = self._by_url.get(hash(url))
        if uid is None or uid not in self._known:
            return None
        record = self[uid]
        return record if record.url == url else None

    def body(self, uid: str) -> bytes:
        """Returns the body of an ok record.

        Raises:
            KeyError: if there is none.
            ValueError: if the stored bytes are damaged, naming the segment and the offset.
        """
        known = self._known[uid]
        if known.warc is None or known.offset is None:
            raise KeyError(uid)
        try:
            return journal.read_body(self._fetch, known.warc, known.offset, known.sha256)
        except ValueError as error:
            owner = known.warc.split("/")[0]
            if owner == self.snapshot:
                raise
            raise ValueError(
                f"{error}. This is {self.snapshot}'s copy of a record of {owner}: once {owner} is in order again, move "
                f"{self._folder} away as well, for its copies point at the old bytes"
            ) from None

    def find_by_sha256(self, sha256: str) -> bytes | None:
        """Returns a body with these bytes, of this snapshot or an earlier one; None where the store has none.

        Raises:
            ValueError: if an index or the stored bytes are damaged.
        """
        if self._by_sha256 is None:
            self._by_sha256 = {}
            for snapshot in (self.snapshot, *self._earlier):
                for _, record in read_index(self._fetch / snapshot / "index.jsonl"):
                    self._note_place(record)
        place = self._by_sha256.get(sha256)
        return journal.read_body(self._fetch, *place, sha256) if place else None

    def expect(self, uids: Iterable[str]) -> None:
        """Takes the mark of completeness away where some of `uids` has no record yet."""
        if any(uid not in self._known for uid in uids):
            (self._folder / "complete.json").unlink(missing_ok=True)

    def retry_failed(self) -> int:
        """Marks every failed record to be fetched anew; returns how many. The records stay, as evidence."""
        failed = [uid for uid, known in self._known.items() if known.reason is not None]
        for uid in failed:
            self._append(dataclasses.replace(self[uid], outcome="retry", reason=None))
        return len(failed)

    def copy_from(self, earlier: str, uids: Iterable[str]) -> int:
        """Copies the ok records of `uids` from an earlier snapshot where this one has none; returns how many.

        Failures are never copied: what failed earlier is tried again.
        """
        wanted = {uid for uid in uids if uid not in self._known}
        path = self._fetch / earlier / "index.jsonl"
        lines: dict[str, int] = {}
        for line, record in read_index(path, wanted):
            if record.outcome != "ok":
                lines.pop(record.uid, None)
            elif record.uid in wanted:
                lines[record.uid] = line
        if lines:
            with path.open("rb") as index:
                for line in lines.values():
                    record = read_record(index, line)
                    self.put(dataclasses.replace(record, copied_from=record.copied_from or earlier), None)
        return len(lines)

    def mark_complete(self, uids: Iterable[str]) -> None:
        """Notes that every uid of the snapshot has its record, and writes the attempts table."""
        wanted = sorted(uids)
        missing = [uid for uid in wanted if uid not in self._known]
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

    @property
    def _index(self) -> Path:
        return self._folder / "index.jsonl"

    def _write_attempts(self, uids: Sequence[str], path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        with (
            self._index.open("rb") as index,
            pq.ParquetWriter(partial, ATTEMPTS, compression="zstd", store_schema=False) as writer,
        ):
            for start in range(0, len(uids), _ROWS_AT_ONCE):
                chosen = [self._known[uid].line for uid in uids[start : start + _ROWS_AT_ONCE]]
                rows = [read_record(index, line).as_attempt() for line in chosen]
                writer.write_table(pa.Table.from_pylist(rows, schema=ATTEMPTS))
        os.replace(partial, path)

    def _append(self, record: FetchRecord) -> None:
        if self._journal is None:
            self._unwritten[record.uid] = record
            self._note(record, -1)
        else:
            self._note(record, self._journal.append(record.as_line()))
        if self._by_sha256 is not None:
            self._note_place(record)

    def _note(self, record: FetchRecord, line: int) -> None:
        """Takes a record for its uid's last; a mark leaves the uid without one."""
        if record.outcome == "retry":
            self._known.pop(record.uid, None)
            return
        reason, warc = (None if text is None else sys.intern(text) for text in (record.reason, record.warc))
        self._known[record.uid] = Known(reason, record.sha256, warc, record.offset, line)
        if record.copied_from is None:
            self._by_url[hash(record.url)] = record.uid

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
