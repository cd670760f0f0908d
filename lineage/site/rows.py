"""Every pair of every snapshot with its whole trail, in the order of their uids, a range at a time."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lineage import reasons, records
from lineage.site import cursors
from lineage.site.cursors import Cursor
from lineage.site.holding import Holding
from lineage.site.withheld import Withheld

WORDS = (reasons.KEPT, *reasons.ALL)
"""Reasons, by number."""
NUMBERS = {word: number for number, word in enumerate(WORDS)}
MAX_CHARS = 2000
"""Shown of a caption or a link; how long it is stands beside it."""
MAX_HOST_CHARS = 255
MAX_WORD_CHARS = 120
"""Shown of any other text."""
SOURCE = ("uid", "url", "caption", "url_sha256", "host", "host_sha256", "license")
LEDGER = ("uid", "outcome", "reason", "sha256", "bytes", "drift")
SIGNALS = ("uid", "format", "width", "height", "phash", "language", "language_probability", "script")
VERDICTS = ("uid", "reason", "rule", "value", "threshold", "duplicate_of", "duplicate_of_snapshot")
MANIFEST = ("uid", "split", "shard", "offset", "length")
FIELDS = (
    *("snapshot", "uid", "withheld", "url", "url_chars", "caption", "caption_chars", "host", "license", "url_sha256"),
    *("host_sha256", "outcome", "failure", "bytes", "drift", "sha256", "format", "width", "height", "phash"),
    *("language", "language_probability", "script", "reason", "rule", "value", "threshold", "duplicate_of"),
    *("duplicate_of_snapshot", "split", "shard", "offset", "length", "exposures", "values"),
)
"""What a row is, in order. Reasons are numbers of WORDS; `exposures` is one count a model, null if all are 0."""
PLACE = {name: number for number, name in enumerate(FIELDS)}
_HIDDEN = ("url", "url_chars", "caption", "caption_chars", "host", "license", "format", "width", "height", "phash") + (
    "language",
    "language_probability",
    "script",
    "value",
    "values",
    "bytes",
    "drift",
)
Row = list[Any]


@dataclasses.dataclass
class Snapshot:
    """The records of one snapshot, open side by side."""

    name: str
    number: int
    records: dict[str, Cursor]
    manifest: Cursor
    exposures: Mapping[str, Cursor]
    rule_names: Sequence[str]
    strays: Counter[str] = dataclasses.field(default_factory=Counter)
    """By model, exposures to pairs that the snapshot does not have."""

    def below(self, bound: str | None, withheld: Withheld) -> list[Row]:
        """Returns the next rows, those whose uid is below the bound."""
        tables = {name: cursor.below(bound) for name, cursor in self.records.items()}
        cursors.aligned(tables)
        source, ledger, signals, verdicts, *values = tables.values()
        uids = source["uid"].to_pylist()
        made: dict[str, list[Any]] = {"snapshot": [self.number] * len(uids), "uid": uids, "withheld": [0] * len(uids)}
        for name in ("url", "caption"):
            made[name], made[f"{name}_chars"] = _cut(source[name], MAX_CHARS)
        for table, names in (
            (source, SOURCE[3:]),
            (ledger, ("outcome", "sha256", "bytes", "drift")),
            (signals, SIGNALS[1:]),
        ):
            made |= {name: _short(table[name]) for name in names}
        made |= {name: _short(verdicts[name]) for name in VERDICTS[2:]}
        made["host"], _ = _cut(source["host"], MAX_HOST_CHARS)
        for table, name in ((source, "url_sha256"), (source, "host_sha256"), (ledger, "sha256")):
            _check_digests(f"snapshot {self.name}: {name}", table[name])
        made["failure"], made["reason"] = _numbers(ledger["reason"]), _numbers(verdicts["reason"])
        made |= self._places(bound, uids)
        made["exposures"] = self._seen(bound, uids)
        columns = [_short(values[0][name]) for name in self.rule_names] if values else []
        made["values"] = [list(row) for row in zip(*columns, strict=True)] if columns else [None] * len(uids)
        return [_hidden(row, withheld) for row in map(list, zip(*(made[name] for name in FIELDS), strict=True))]

    def _places(self, bound: str | None, uids: list[str]) -> dict[str, list[Any]]:
        table = self.manifest.below(bound)
        found = dict(zip(table["uid"].to_pylist(), range(table.num_rows), strict=True))
        rows = pa.array([found.get(uid) for uid in uids], pa.int64())
        return {name: _short(table[name].take(rows)) for name in MANIFEST[1:]}

    def _seen(self, bound: str | None, uids: list[str]) -> list[list[int] | None]:
        row_of = {uid: row for row, uid in enumerate(uids)}
        seen: list[list[int] | None] = [None] * len(uids)
        for number, (model, cursor) in enumerate(self.exposures.items()):
            table = cursor.below(bound)
            for uid, count in zip(table["uid"].to_pylist(), table["count"].to_pylist(), strict=True):
                row = row_of.get(uid)
                if row is None:
                    self.strays[model] += count
                    continue
                counts = seen[row] or [0] * len(self.exposures)
                counts[number] = count
                seen[row] = counts
        return seen


def opened(holding: Holding, name: str, number: int, models: Sequence[str]) -> Snapshot:
    """Returns a snapshot with its records open."""
    source, ledger = f"data/source/{name}/source.parquet", f"data/raw/{name}/ledger.parquet"
    found = {
        source: Cursor(source, [holding.path(source)], SOURCE, records.SOURCE),
        ledger: Cursor(ledger, [holding.path(ledger)], LEDGER, records.LEDGER),
    }
    parts = holding.names(f"data/signals/{name}", ".parquet")
    signals = f"data/signals/{name}"
    found[signals] = Cursor(signals, [*map(holding.path, parts)], SIGNALS, records.SIGNALS)
    verdicts, values = (f"data/selection/{name}/{kind}.parquet" for kind in ("verdicts", "values"))
    found[verdicts] = Cursor(verdicts, [holding.path(verdicts)], VERDICTS, records.VERDICTS)
    rules: list[str] = []
    if holding.has(values):
        rules = [column for column in pa.parquet.read_schema(holding.path(values)).names if column != "uid"]
        found[values] = Cursor(values, [holding.path(values)], ["uid", *rules])
    manifest = f"data/shards/{name}/manifest.parquet"
    exposures = {
        model: Cursor(path, [holding.path(path)], ["uid", "count"], records.EXPOSURE, ("snapshot", name))
        for model in models
        for path in [f"models/{model}/exposure.parquet"]
    }
    packed = Cursor(manifest, [holding.path(manifest)], MANIFEST, records.MANIFEST)
    return Snapshot(name, number, found, packed, exposures, rules)


def ranges(snapshots: Sequence[Snapshot], withheld: Withheld) -> Iterator[list[Row]]:
    """Yields the rows of all snapshots by ranges of uids, each sorted by uid, then snapshot."""
    num_rows = sum(next(iter(one.records.values())).num_rows for one in snapshots)
    for bound in cursors.bounds(num_rows):
        rows = [row for one in snapshots for row in one.below(bound, withheld)]
        yield sorted(rows, key=lambda row: (row[1], row[0]))


def _hidden(row: Row, withheld: Withheld) -> Row:
    """Returns a row with nothing but hashes, outcome and place if it is opted out, else without spare hashes."""
    if row[PLACE["url"]] is None or withheld.covers(*(row[PLACE[k]] for k in ("url_sha256", "host_sha256", "sha256"))):
        row[PLACE["withheld"]] = 1
        for name in _HIDDEN:
            row[PLACE[name]] = None
    else:
        row[PLACE["host_sha256"]] = None
    return row


def _cut(column: pa.ChunkedArray, limit: int) -> tuple[list[str | None], list[int | None]]:
    """Returns texts cut to a limit, and their full lengths where they were."""
    values = cursors.texts(column)
    long = {row: len(value) for row, value in enumerate(values) if value is not None and len(value) > limit}
    for row in long:
        values[row] = (values[row] or "")[:limit]
    return values, [long.get(row) for row in range(len(values))]


def _short(column: pa.ChunkedArray) -> list[Any]:
    if not pa.types.is_string(column.type):
        return cursors.plain(column)
    values, long = _cut(column, MAX_WORD_CHARS)
    return [
        value if length is None else f"{value}… ({length} characters)"
        for value, length in zip(values, long, strict=True)
    ]


def _check_digests(name: str, column: pa.ChunkedArray) -> None:
    if pc.any(pc.invert(pc.match_substring_regex(column, "^[0-9a-f]{64}$"))).as_py():
        raise ValueError(f"{name} is not 64 hex digits in every row")


def _numbers(column: pa.ChunkedArray) -> list[int | None]:
    """Returns reasons by number.

    Raises:
        ValueError: if one is not in the closed set.
    """
    if column.null_count == len(column):
        return [None] * len(column)
    known = pc.is_in(column, pa.array(WORDS))
    odd = column.filter(pc.invert(known)).drop_null()
    if len(odd):
        raise ValueError(f"reason {odd[0].as_py()!r} is not one of lineage/reasons.py")
    numbers: list[int | None] = pc.index_in(column, pa.array(WORDS)).to_pylist()
    return numbers
