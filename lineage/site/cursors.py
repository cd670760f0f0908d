"""Records that are sorted by uid, read side by side a range of uids at a time: memory is that of one range."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS_PER_RANGE = 1 << 14
"""Aimed at: uids are digests, so that equal ranges hold about equally many rows."""
MAX_RANGES = 1 << 14
_BATCH_ROWS = 1 << 15
_UID = "^[0-9a-f]{32}$"


class Cursor:
    """Walks the rows of some parquet files, together sorted by uid, upwards."""

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        columns: Sequence[str],
        schema: pa.Schema | None = None,
        where: tuple[str, str] | None = None,
    ) -> None:
        """Opens the files.

        Args:
            name: what errors call the record.
            schema: the types that the columns have, or None to take them as they are.
            where: a column and the value that the rows of interest have in it.
        """
        self._name, self._columns, self._where = name, list(columns), where
        self._schema = None if schema is None else pa.schema([schema.field(column) for column in columns])
        if not paths:
            raise FileNotFoundError(f"{name}: no parquet file there; `dvc pull` or `dvc repro` brings it")
        with self._named_errors():
            self.num_rows = sum(pq.read_metadata(path).num_rows for path in paths)
        self._batches = self._read(paths)
        self._waiting = self._next()
        self._last = ""

    def below(self, bound: str | None) -> pa.Table:
        """Returns the next rows whose uid is below `bound`, all that are left if it is None.

        Raises:
            ValueError: if the record is damaged, not sorted by uid, or has a uid twice.
        """
        parts = []
        while self._waiting is not None:
            inside = pc.sum(pc.less(self._waiting["uid"], bound)).as_py() or 0 if bound else self._waiting.num_rows
            parts.append(self._waiting.slice(0, inside))
            if inside < self._waiting.num_rows:
                self._waiting = self._waiting.slice(inside)
                break
            self._waiting = self._next()
        found = pa.concat_tables(parts) if parts else self._empty
        self._check(found["uid"])
        return found

    def _read(self, paths: Sequence[Path]) -> Iterator[pa.Table]:
        for path in paths:
            with self._named_errors(), pq.ParquetFile(path) as file:
                wanted = [*self._columns, *([self._where[0]] if self._where else [])]
                missing = [name for name in wanted if name not in file.schema_arrow.names]
                if missing:
                    raise ValueError(f"{self._name}: column {missing[0]} is missing")
                self._empty = (self._schema or file.schema_arrow).empty_table().select(self._columns)
                for batch in file.iter_batches(_BATCH_ROWS, columns=wanted):
                    yield self._chosen(pa.Table.from_batches([batch]))

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            said = " ".join(str(error).split())[:200]
            raise ValueError(f"{self._name}: cannot be read as parquet ({said})") from None

    def _chosen(self, table: pa.Table) -> pa.Table:
        if self._where:
            table = table.filter(pc.equal(table[self._where[0]], self._where[1]))
        table = table.select(self._columns)
        return table if self._schema is None else table.cast(self._schema)

    def _next(self) -> pa.Table | None:
        return next((table for table in self._batches if table.num_rows), None)

    def _check(self, uids: pa.ChunkedArray) -> None:
        if not len(uids):
            return
        if not pc.all(pc.fill_null(pc.match_substring_regex(uids, _UID), False)).as_py():
            raise ValueError(f"{self._name}: not every uid is 32 hex digits")
        flat = pa.concat_arrays([pa.array([self._last]), *(chunk.cast(pa.string()) for chunk in uids.chunks)])
        if not pc.all(pc.less(flat.slice(0, len(uids)), flat.slice(1))).as_py():
            raise ValueError(f"{self._name}: its uids do not ascend; `dvc repro` brings them in order")
        self._last = flat[-1].as_py()


def bounds(num_rows: int) -> Iterator[str | None]:
    """Yields where ranges of uids end, upwards, so that each holds some ROWS_PER_RANGE rows; the last has no end."""
    num_ranges = min(max(-(-num_rows // ROWS_PER_RANGE), 1), MAX_RANGES)
    for number in range(1, num_ranges):
        yield f"{(number << 32) // num_ranges:08x}"
    yield None


def aligned(tables: dict[str, pa.Table]) -> None:
    """Raises ValueError if tables that must tell of the same rows do not, naming both and a uid."""
    (first, reference), *others = tables.items()
    for name, table in others:
        if not table["uid"].equals(reference["uid"]):
            left, right = set(reference["uid"].to_pylist()), set(table["uid"].to_pylist())
            odd = min(left ^ right)
            has, lacks = (first, name) if odd in left else (name, first)
            raise ValueError(f"{has} has {odd}, {lacks} has not; `dvc repro` brings them together")


def texts(column: pa.ChunkedArray) -> list[str | None]:
    """Returns strings; what is not valid UTF-8 in them stands as U+FFFD."""
    octets = column.cast(pa.binary())
    try:
        found: list[str | None] = octets.cast(pa.string()).to_pylist()
    except pa.ArrowInvalid:
        found = [None if value is None else value.decode("utf-8", "replace") for value in octets.to_pylist()]
    return found


def plain(column: pa.ChunkedArray) -> list[Any]:
    """Returns values as JSON can hold them."""
    if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
        return texts(column)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_finite(column), column, None)
    values: list[Any] = column.to_pylist()
    return values
