"""Whether a site lets us fetch: its robots.txt and tdmrep.json, asked for once, kept as evidence, heeded until expiry.

    store/consent/S/index.jsonl     one line for each time a site was asked, by the run of snapshot S
    store/consent/S/NNNNN.warc.gz   what it answered

Decisions of all snapshots count until they expire. By RFC 9309 2.3.1 a robots.txt that is not there (4xx) forbids
nothing, and one that cannot be had (5xx, no answer) forbids all: then the picture fails with the reason why the site
could not be asked, or as robots_disallowed where only this file is in trouble. That counts for `max_wait_s` alone. A
tdmrep.json that is not to be had reserves nothing: "failure to provide access ... implies that the origin server does
not implement this protocol".
"""

import asyncio
import dataclasses
import datetime
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yarl import URL

from lineage import digests
from pipelines.web import journal, robots, rounds
from pipelines.web.fetch import Answer, FetchFailedError, Web, storable

_PATHS = {"robots": "/robots.txt", "tdmrep": "/.well-known/tdmrep.json"}
_ABSENT = frozenset({"http_404", "http_410", "http_error", "too_many_redirects", "scheme_not_allowed"})
"""Failures that mean: the site has no such file."""
_FILE_ONLY = frozenset({"server_error", "incomplete_body"})
"""Failures of the file, with a host that answers."""
_NUM_PARSED = 10_000
"""Parsed files kept in memory."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ConsentRecord:
    """What one site said in one file, at one time."""

    id: str
    """S/N: line N of the snapshot's index."""
    origin: str
    """Scheme, host and, if not the scheme's own, port."""
    kind: str
    """robots or tdmrep."""
    outcome: str
    """read, absent (it says nothing), or unreachable."""
    reason: str | None
    message: str
    status: int | None
    final_url: str
    sha256: str | None
    attempts: list[dict[str, Any]]
    fetched_at: str
    expires_at: float
    """Until when it counts, s since 1970."""
    warc: str | None = None
    """Segment below store/consent, None where there is no body."""
    offset: int | None = None


class ConsentStore:
    """What the sites said, of all snapshots; new words are appended to one snapshot's part."""

    def __init__(self, root: Path, snapshot: str) -> None:
        """Opens, or begins, the snapshot's part of `root/consent`.

        Raises:
            ValueError: if another process has it open, or an index is damaged.
        """
        self._root, self._snapshot = root / "consent", snapshot
        self._journal = journal.Journal(self._root, snapshot)
        self._latest: dict[tuple[str, str], ConsentRecord] = {}
        self._num_lines = journal.num_lines(self._journal.index)
        try:
            for index in sorted(self._root.glob("*/index.jsonl")):
                self._load(index)
        except ValueError:
            self._journal.close()
            raise

    def find(self, origin: str, kind: str) -> ConsentRecord | None:
        """Returns what the site said last, if that still counts."""
        record = self._latest.get((origin, kind))
        return record if record is not None and time.time() < record.expires_at else None

    def put(self, facts: Mapping[str, Any], body: bytes | None) -> ConsentRecord:
        """Appends a record, given all but its id and place, and returns it."""
        place: dict[str, Any] = {}
        if body is not None:
            warc, offset = self._journal.add_body(facts["final_url"], status=facts["status"], headers={}, body=body)
            place = {"warc": warc, "offset": offset}
        self._num_lines += 1
        record = ConsentRecord(id=f"{self._snapshot}/{self._num_lines}", **facts, **place)
        self._journal.append(dataclasses.asdict(record))
        self._latest[record.origin, record.kind] = record
        return record

    def body(self, record: ConsentRecord) -> bytes:
        """Returns what the site said, in its own words.

        Raises:
            ValueError: if the stored bytes are damaged.
        """
        assert record.warc is not None and record.offset is not None
        return journal.read_body(self._root, record.warc, record.offset, record.sha256)

    def close(self) -> None:
        """Closes the files."""
        self._journal.close()

    def _load(self, index: Path) -> None:
        now = time.time()
        for number, _, line in journal.lines(index):
            try:
                record = ConsentRecord(**json.loads(line))
                known = self._latest.get((record.origin, record.kind))
                if record.expires_at > now and (known is None or known.expires_at < record.expires_at):
                    self._latest[record.origin, record.kind] = record
            except (ValueError, TypeError) as error:
                raise ValueError(f"{index}:{number}: no consent record ({str(error)[:100]!r})") from None


class Consent:
    """Asks the sites, each once, and says what they let us do."""

    def __init__(self, web: Web, store: ConsentStore) -> None:
        self._web, self._store, self._limits = web, store, web.limits
        self._pending: dict[tuple[str, str], asyncio.Task[ConsentRecord]] = {}
        self._parsed: dict[str, robots.Rules] = {}

    async def permit(self, url: URL, evidence: list[str]) -> None:
        """Does nothing where the site lets us ask for the URL; adds the ids of what it said to `evidence`.

        Raises:
            FetchFailedError: where it does not, or cannot be asked.
        """
        if self._limits.respect_robots:
            await self._check(url, "robots", evidence)
        await self._check(url, "tdmrep", evidence)

    async def _check(self, url: URL, kind: str, evidence: list[str]) -> None:
        record = await self._record(str(url.origin()), kind)
        evidence.append(record.id)
        if record.outcome == "unreachable" and kind == "robots":
            reason = "robots_disallowed" if record.reason in _FILE_ONLY else str(record.reason)
            message = f"its robots.txt cannot be had ({record.message}): all is forbidden for now"
            raise FetchFailedError(reason, message, passing=False)
        if record.outcome == "read" and not self._rules(record).allows(url.raw_path_qs):
            reason = {"robots": "robots_disallowed", "tdmrep": "tdm_reserved"}[kind]
            raise FetchFailedError(reason, f"{record.origin}{_PATHS[kind]} forbids {url.raw_path_qs[:200]}")

    async def _record(self, origin: str, kind: str) -> ConsentRecord:
        """Returns what the site says; requests at once share one question."""
        found = self._store.find(origin, kind)
        if found is not None:
            return found
        key = (origin, kind)
        if key not in self._pending:
            self._pending[key] = asyncio.ensure_future(self._ask(origin, kind))
            self._pending[key].add_done_callback(lambda _: self._pending.pop(key, None))
        return await asyncio.shield(self._pending[key])

    async def _ask(self, origin: str, kind: str) -> ConsentRecord:
        answers = await rounds.ask(self._web, origin + _PATHS[kind], None, seed=origin)
        last = answers[-1]
        outcome, reason = _outcome(last)
        ttl_s = self._limits.max_wait_s if outcome == "unreachable" else self._limits.consent_ttl_s
        body = last.body if outcome == "read" else None
        facts = {
            "origin": origin,
            "kind": kind,
            "outcome": outcome,
            "reason": reason,
            "message": storable(last.failure.message) if last.failure else "",
            "status": last.status,
            "final_url": last.final_url,
            "sha256": None if body is None else digests.sha256_bytes(body),
            "attempts": [rounds.attempt_facts(answer) for answer in answers],
            "fetched_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "expires_at": round(time.time() + ttl_s, 3),
        }
        return self._store.put(facts, body)

    def _rules(self, record: ConsentRecord) -> robots.Rules:
        if record.id not in self._parsed:
            if len(self._parsed) >= _NUM_PARSED:
                self._parsed.clear()
            body = self._store.body(record)
            is_robots = record.kind == "robots"
            rules = robots.parse_robots(body, self._web.agent) if is_robots else robots.parse_tdmrep(body)
            self._parsed[record.id] = rules
        return self._parsed[record.id]


def _outcome(answer: Answer) -> tuple[str, str | None]:
    if answer.failure is None:
        return "read", None
    return "absent" if answer.failure.reason in _ABSENT else "unreachable", answer.failure.reason
