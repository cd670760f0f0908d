"""What a domain and the hosts below it gave: counts first, then some of their pairs.

Rows of one range of uids are counted at a time, and the counts put aside by the digest of the domain: memory is that
of one range, or of one part of the counts. Opted-out pairs have no host in the clear; they count under its digest.
"""

import dataclasses
import functools
import hashlib
import json
from collections import Counter
from typing import Any

from lineage.site.lookup import KEY_DIGITS, Parts
from lineage.site.rows import PLACE, Row
from lineage.site.shelf import Shelf

MAX_UIDS = 50
MAX_HOSTS = 50
"""Shown of the hosts below a domain: the first ones in the order of their names."""
MAX_ABOVE = 4
"""Domains above a host that it counts for: the topmost of two labels, and those below it."""
_HOST, _DIGEST, _UID, _REASON, _SEEN = (PLACE[name] for name in ("host", "host_sha256", "uid", "reason", "exposures"))


@dataclasses.dataclass(slots=True)
class Counts:
    """What one domain gave."""

    reasons: Counter[int] = dataclasses.field(default_factory=Counter)
    pairs: list[int] = dataclasses.field(default_factory=list)
    """By model, pairs it saw."""
    exposures: list[int] = dataclasses.field(default_factory=list)
    """By model, how often in all."""
    uids: dict[str, int] = dataclasses.field(default_factory=dict)
    hosts: Counter[str] = dataclasses.field(default_factory=Counter)

    def add(self, other: "Counts") -> None:
        """Adds the counts of a later range."""
        self.reasons.update(other.reasons)
        self.pairs = _sums(self.pairs, other.pairs)
        self.exposures = _sums(self.exposures, other.exposures)
        for uid, reason in other.uids.items():
            if len(self.uids) < MAX_UIDS:
                self.uids.setdefault(uid, reason)
        self.hosts.update(other.hosts)
        self.hosts = Counter(dict(sorted(self.hosts.items())[:MAX_HOSTS]))

    def row(self, host: str | None, uid: str, reason: int, seen: list[int] | None) -> None:
        """Counts one row."""
        self.reasons[reason] += 1
        if seen:
            self.pairs = _sums(self.pairs, [int(count > 0) for count in seen])
            self.exposures = _sums(self.exposures, seen)
        if len(self.uids) < MAX_UIDS:
            self.uids.setdefault(uid, reason)
        if host:
            self.hosts[host] += 1

    def content(self) -> list[Any]:
        """Returns them as plain values."""
        hosts = sorted(self.hosts.items())[:MAX_HOSTS]
        return [sorted(self.reasons.items()), self.pairs, self.exposures, [*self.uids.items()], hosts]


class Hosts:
    """Collects rows by domain and shelves [key, reasons, pairs, exposures, uids, hosts below] for each."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def add(self, rows: list[Row]) -> None:
        """Counts the rows of one range of uids."""
        found: dict[str, Counts] = {}
        for row in rows:
            for key, below in _keys(row[_HOST], row[_DIGEST]):
                counts = found.get(key) or found.setdefault(key, Counts())
                counts.row(below, row[_UID], row[_REASON], row[_SEEN])
        lines: dict[int, list[str]] = {}
        for key, counts in found.items():
            lines.setdefault(self._parts.of(int(key[:4], 16)), []).append(json.dumps([key, *counts.content()]))
        for part, texts in lines.items():
            self._parts.append(part, ("\n".join(texts) + "\n").encode("ascii"))

    def shelve(self, shelf: Shelf) -> None:
        """Writes what was collected, in order."""
        for path in self._parts.drain():
            found: dict[str, Counts] = {}
            with path.open(encoding="ascii") as lines:
                for line in lines:
                    key, reasons, pairs, exposures, uids, hosts = json.loads(line)
                    part = Counts(Counter(dict(reasons)), pairs, exposures, dict(uids), Counter(dict(hosts)))
                    if key in found:
                        found[key].add(part)
                    else:
                        found[key] = part
            for key in sorted(found):
                shelf.add(key, [key, *found[key].content()])


def _sums(left: list[int], right: list[int]) -> list[int]:
    if not left or not right:
        return left or list(right)
    return [one + other for one, other in zip(left, right, strict=True)]


def _keys(host: str | None, digest: str | None) -> tuple[tuple[str, str | None], ...]:
    """Returns (key, host below) of every domain that a row counts for."""
    if host:
        return _domains(host)
    return ((digest[:KEY_DIGITS], None),) if digest else ()


@functools.lru_cache(1 << 16)
def _domains(host: str) -> tuple[tuple[str, str | None], ...]:
    labels = host.split(".")
    num_above = 0 if labels[-1].isdecimal() else len(labels) - 2
    above = [".".join(labels[start:]) for start in range(1, num_above + 1)][-MAX_ABOVE:]
    return ((_key(host), None), *((_key(domain), host) for domain in above))


def _key(domain: str) -> str:
    return hashlib.sha256(domain.encode()).hexdigest()[:KEY_DIGITS]
