"""A snapshot's source rows in order of uid, read a row group at a time: the list may be larger than memory."""

import bisect
import functools
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lineage import records

_GROUPS_HELD = 3
"""Row groups kept in memory at once: the shards under way lie in one or two."""


class SourceTable(Mapping[str, str]):
    """The URLs by uid, as the gateway looks them up, and the rows by shard: ranges of `rows_per_shard` uids.

    A row that was taken down has no URL: the mapping lacks it, and `uids` and `shards` leave it out. It has its place
    in a shard all the same, so that its neighbours keep theirs.

    Attributes:
        num_rows: how many rows there are, those taken down too.
    """

    def __init__(self, path: Path, rows_per_shard: int) -> None:
        """Opens a source.parquet.

        Raises:
            FileNotFoundError: if it is not there.
            ValueError: if it is damaged, or not sorted by uid, naming it.
        """
        self._path, self.rows_per_shard = path, rows_per_shard
        self._lock = threading.Lock()  # the gateway asks from a thread of its own
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            if not path.exists():
                raise FileNotFoundError(f"{path}: not there; stage source makes it") from None
            raise ValueError(f"{path}: cannot be read as parquet ({' '.join(str(error).split())[:200]})") from None
        groups = range(self._file.num_row_groups)
        self._groups = [group for group in groups if self._file.metadata.row_group(group).num_rows]
        self._group = functools.lru_cache(_GROUPS_HELD)(self._read_group)
        self._starts, self._first_uids = self._scan()
        self.num_rows = self._starts[-1]
        self._num_live = sum(1 for _ in self)

    def __len__(self) -> int:
        return self._num_live

    def __iter__(self) -> Iterator[str]:
        for group in self._groups:
            yield from filter(None, self._read_live(group))

    def __getitem__(self, uid: str) -> str:
        group = bisect.bisect_right(self._first_uids, uid) - 1
        if group >= 0:
            uids, urls = (self._group(self._groups[group])[name] for name in ("uid", "url"))
            row = bisect.bisect_left(range(len(uids)), uid, key=lambda row: uids[row].as_py())
            if row < len(uids) and uids[row].as_py() == uid and urls[row].is_valid:
                return str(urls[row].as_py())
        raise KeyError(uid)

    @property
    def num_shards(self) -> int:
        """How many shards the rows make."""
        return -(-self.num_rows // self.rows_per_shard)

    def uids(self, shard: int) -> list[str]:
        """Returns the uids with a URL of a shard, sorted."""
        rows = self._slice(shard, ["uid", "url"])
        return rows.filter(pc.is_valid(rows["url"]))["uid"].to_pylist()  # type: ignore[no-any-return]

    def pairs(self, shard: int) -> list[dict[str, Any]]:
        """Returns the rows of a shard, those taken down too, sorted by uid."""
        return self._slice(shard, records.SOURCE.names).to_pylist()  # type: ignore[no-any-return]

    def shards(self) -> Iterator[tuple[int, list[str]]]:
        """Yields the number and the uids with a URL of every shard, in order."""
        held: list[str | None] = []
        number = 0
        for group in self._groups:
            held += self._read_live(group)
            while len(held) >= self.rows_per_shard:
                yield number, list(filter(None, held[: self.rows_per_shard]))
                held, number = held[self.rows_per_shard :], number + 1
        if held:
            yield number, list(filter(None, held))

    def _slice(self, shard: int, columns: list[str]) -> pa.Table:
        start = shard * self.rows_per_shard
        stop = min(start + self.rows_per_shard, self.num_rows)
        first = bisect.bisect_right(self._starts, start) - 1
        last = bisect.bisect_left(self._starts, stop)
        found = pa.concat_tables([self._group(group).select(columns) for group in self._groups[first:last]])
        return found.slice(start - self._starts[first], stop - start)

    def _read_group(self, group: int) -> pa.Table:
        return self._read(group, records.SOURCE.names).cast(records.SOURCE)

    def _read_live(self, group: int) -> list[str | None]:
        """Returns the uids of a row group, None in the place of one without a URL."""
        place = self._file.schema_arrow.names.index("url")
        facts = self._file.metadata.row_group(group).column(place).statistics
        if facts is not None and facts.has_null_count and not facts.null_count:
            return self._read_uids(group)  # type: ignore[return-value]
        rows = self._read(group, ["uid", "url"])
        return pc.if_else(pc.is_valid(rows["url"]), rows["uid"], None).to_pylist()  # type: ignore[no-any-return]

    def _read_uids(self, group: int) -> list[str]:
        return self._read(group, ["uid"])["uid"].to_pylist()  # type: ignore[no-any-return]

    def _read(self, group: int, columns: list[str]) -> pa.Table:
        with self._lock:
            return self._file.read_row_group(group, columns=columns).select(columns)

    def _scan(self) -> tuple[list[int], list[str]]:
        """Returns where each row group starts, the end of the last one included, and its first uid."""
        missing = [name for name in records.SOURCE.names if name not in self._file.schema_arrow.names]
        if missing:
            raise ValueError(f"{self._path}: column {missing[0]} is missing")
        starts, first_uids, previous = [0], [], ""
        for group in self._groups:
            uids = self._read_uids(group)
            for uid in uids:
                if uid <= previous:
                    raise ValueError(
                        f"{self._path}: uid {uid} is out of order, or there twice; stage source sorts them"
                    )
                previous = uid
            starts.append(starts[-1] + len(uids))
            first_uids.append(uids[0])
        return starts, first_uids
