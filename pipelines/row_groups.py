"""Parquet of the records' one form from tables that arrive bit by bit: the bytes of one table written at once."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 1 << 17
"""As records.write_table has them."""


class RowGroupWriter:
    """Writes `path` in groups of ROWS_PER_GROUP rows, by a rename when the context ends well."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._waiting: list[pa.Table] = []
        self._num_waiting = 0
        self.num_rows = 0

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(
            self._partial, self._schema, compression="zstd", compression_level=3, version="2.6", store_schema=False
        )
        return self

    def write(self, table: pa.Table) -> None:
        """Adds rows; the table has the writer's columns in their order."""
        self._waiting.append(table.cast(self._schema))
        self._num_waiting += table.num_rows
        self.num_rows += table.num_rows
        while self._num_waiting >= ROWS_PER_GROUP:
            self._write_group(ROWS_PER_GROUP)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and (self._num_waiting or not self.num_rows):
            self._write_group(self._num_waiting)
        self._writer.close()
        if kind is None:
            os.replace(self._partial, self._path)
        else:
            self._partial.unlink()

    def _write_group(self, num_rows: int) -> None:
        table = pa.concat_tables(self._waiting) if self._waiting else self._schema.empty_table()
        group, rest = table.slice(0, num_rows), table.slice(num_rows)
        self._writer.write_table(group.replace_schema_metadata(None).combine_chunks(), row_group_size=ROWS_PER_GROUP)
        self._waiting = [rest] if rest.num_rows else []
        self._num_waiting = rest.num_rows
