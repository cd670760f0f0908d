"""Records that are sorted by uid, read side by side a row group at a time, however many rows they have."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


class Cursor:
    """Goes once through a record, or through all records right under a folder in order of name."""

    def __init__(self, path: Path, schema: pa.Schema, columns: list[str]) -> None:
        self._path, self._schema, self._columns = path, schema, columns
        self._groups = self._read()
        self._waiting = self._empty()
        self._last: str | None = None

    def groups(self) -> Iterator[pa.Table]:
        """Yields the rows that are left, a row group at a time."""
        if self._waiting.num_rows:
            yield self._waiting
        yield from self._groups

    def upto(self, uid: str | None) -> pa.Table:
        """Returns the next rows whose uid is not beyond `uid`; all that are left where it is None."""
        found = [self._waiting]
        while uid is None or not found[-1].num_rows or found[-1]["uid"][-1].as_py() <= uid:
            group = next(self._groups, None)
            if group is None:
                break
            found.append(group)
        table = pa.concat_tables(found)
        number = table.num_rows if uid is None else int(pc.sum(pc.less_equal(table["uid"], uid)).as_py() or 0)
        self._waiting = table.slice(number)
        return table.slice(0, number)

    def _read(self) -> Iterator[pa.Table]:
        files = sorted(self._path.glob("*.parquet")) if self._path.is_dir() else [self._path]
        if not files or not all(file.is_file() for file in files):
            raise FileNotFoundError(f"{self._path}: no parquet file there")
        for file in files:
            reader = open_record(file, self._columns)
            for number in range(reader.num_row_groups):
                group = reader.read_row_group(number, self._columns).select(self._columns)
                self._check_order(file, group["uid"])
                if group.num_rows:
                    yield group

    def _check_order(self, file: Path, uids: pa.ChunkedArray) -> None:
        if not len(uids):
            return
        known = pa.array([self._last] if self._last is not None else [], pa.string())
        every = pa.concat_arrays([known, *uids.chunks])
        before, after = every[:-1], every[1:]
        if pc.any(pc.equal(after, before)).as_py():
            raise ValueError(f"{file}: a uid stands in it twice")
        if pc.any(pc.less(after, before)).as_py():
            raise ValueError(f"{file}: its rows are not sorted by uid; `dvc repro` mends it")
        self._last = uids[-1].as_py()

    def _empty(self) -> pa.Table:
        return pa.schema([self._schema.field(name) for name in self._columns]).empty_table()


def open_record(file: Path, columns: list[str]) -> pq.ParquetFile:
    """Returns a parquet file, opened.

    Raises:
        ValueError: if it is damaged or lacks one of the columns, naming it.
    """
    try:
        reader = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file}: cannot be read as parquet ({' '.join(str(error).split())[:200]})") from None
    for name in columns:
        if name not in reader.schema_arrow.names:
            raise ValueError(f"{file}: column {name} is missing")
    return reader
