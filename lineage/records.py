"""The records every stage leaves, as parquet of one fixed form: equal content is equal bytes.

Key of every row: (snapshot, uid); the snapshot is the folder's name. The uid is the first 32 hex digits of
sha256(url NUL caption).
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_GROUP = 1 << 15
"""Rows of a row group: what a question about one row has to read of each record it looks into."""
_FORM: dict[str, Any] = {"compression": "zstd", "compression_level": 3, "version": "2.6", "store_schema": False}
"""The one form of every record: options of pyarrow's parquet."""
_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()

SOURCE = pa.schema(
    [("uid", _TEXT), ("url", _TEXT), ("caption", _TEXT), ("url_sha256", _TEXT), ("host", _TEXT), ("host_sha256", _TEXT)]
    + [("license", _TEXT), ("origin", _TEXT), ("list_uid", _TEXT), ("expected_sha256", _TEXT)]
    + [("expected_phash", _TEXT), ("given", _TEXT)]
)
"""`list_uid` is what the list calls the row; `given` the scores it brings, as JSON {name: number} with sorted keys."""
REJECTS = pa.schema([("file", _TEXT), ("row", _INT), ("reason", _TEXT), ("url", _TEXT), ("caption", _TEXT)])
REPEATS = pa.schema([("uid", _TEXT), ("repeats", _INT)])
LEDGER = pa.schema(
    [("uid", _TEXT), ("outcome", _TEXT), ("reason", _TEXT), ("sha256", _TEXT), ("bytes", _INT)]
    + [("shard", _INT), ("key", _TEXT), ("offset", _INT), ("drift", _TEXT)]
)
"""`drift` says how the bytes relate to the list's hash: equal, look_alike, different, unverified; null without one."""
SIGNALS = pa.schema(
    [("uid", _TEXT), ("url_sha256", _TEXT), ("host", _TEXT), ("host_sha256", _TEXT), ("tld", _TEXT)]
    + [("url_chars", _INT), ("format", _TEXT), ("bytes", _INT), ("width", _INT), ("height", _INT)]
    + [
        ("sha256", _TEXT),
        ("pixel_sha256", _TEXT),
        ("phash", _TEXT),
        ("thumbnail", pa.binary()),
        ("blur", _FLOAT),
        ("flatness", _FLOAT),
    ]
    + [("caption", _TEXT), ("caption_sha256", _TEXT), ("caption_chars", _INT), ("caption_letters", _INT)]
    + [("caption_words", _INT), ("caption_repetition", _FLOAT), ("caption_letter_frac", _FLOAT)]
    + [("script", _TEXT), ("script_frac", _FLOAT), ("language", _TEXT), ("language_probability", _FLOAT)]
    + [("drift", _TEXT), ("given", _TEXT), ("error", _TEXT)]
)
EMBEDDINGS = pa.schema([("uid", _TEXT), ("clip_score", _FLOAT), ("reason", _TEXT), ("row", _INT)])
"""`row` is the place in the vectors beside it; null, with a reason, where there is none."""
OPTOUTS = pa.schema([("kind", _TEXT), ("value", _TEXT)])
"""kind: url_sha256, host_sha256, sha256 or phash; value: its hex digits. No URL stands here in the clear."""
SCORES = pa.schema([("uid", _TEXT), ("name", _TEXT), ("value", _FLOAT)])
"""A user's own scores of pairs."""
VERDICTS = pa.schema(
    [("uid", _TEXT), ("keep", pa.bool_()), ("reason", _TEXT), ("rule", _TEXT), ("value", _TEXT)]
    + [("threshold", _TEXT), ("duplicate_of", _TEXT), ("duplicate_of_snapshot", _TEXT)]
)
KEPT = pa.schema([("uid", _TEXT), ("split", _TEXT)])
MANIFEST = pa.schema(
    [("uid", _TEXT), ("split", _TEXT), ("shard", _TEXT), ("offset", _INT), ("length", _INT)]
    + [("sha256", _TEXT), ("source_sha256", _TEXT)]
)
"""sha256 is of the bytes in the shard, source_sha256 of those fetched: they differ where pack resizes."""
OPTED_OUT_OF_SET = pa.schema([("part", _TEXT), ("uid", _TEXT), ("rows", _INT)])
"""How many rows of a part of an evaluation set were taken down; its uid is of the picture alone."""
EXPOSURE = pa.schema([("snapshot", _TEXT), ("uid", _TEXT), ("count", _INT)])


def uid_of(url: str, caption: str) -> str:
    """Returns the uid of a pair: the first 32 hex digits of sha256(url NUL caption)."""
    return hashlib.sha256(f"{url}\0{caption}".encode()).hexdigest()[:32]


def write_table(table: pa.Table, path: Path) -> None:
    """Writes parquet (zstd, fixed options, no pandas metadata) by a rename; the caller has sorted the rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    content = table.replace_schema_metadata(None).combine_chunks()
    pq.write_table(content, partial, row_group_size=ROWS_PER_GROUP, **_FORM)
    os.replace(partial, path)


class TableWriter:
    """Writes a record bit by bit, by a rename when the context ends well: the bytes that write_table gives in one go.

    No more than a row group and what was added last is in memory.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._waiting = schema.empty_table()
        self.num_rows = 0

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._partial, self._schema, **_FORM)
        return self

    def write(self, table: pa.Table) -> None:
        """Adds rows; columns beside the schema's are left out."""
        more = table.select(self._schema.names).cast(self._schema)
        self._waiting = pa.concat_tables([self._waiting, more])
        self.num_rows += more.num_rows
        while self._waiting.num_rows >= ROWS_PER_GROUP:
            self._write_group(ROWS_PER_GROUP)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and (self._waiting.num_rows or not self.num_rows):
            self._write_group(self._waiting.num_rows)
        self._writer.close()
        if kind is None:
            os.replace(self._partial, self._path)
        else:
            self._partial.unlink()

    def _write_group(self, num_rows: int) -> None:
        self._writer.write_table(self._waiting.slice(0, num_rows).combine_chunks(), row_group_size=ROWS_PER_GROUP)
        self._waiting = self._waiting.slice(num_rows)


def write_tables(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> None:
    """Writes some tables as one record, as TableWriter does."""
    with TableWriter(path, schema) as writer:
        for table in tables:
            writer.write(table)


def read_table(path: Path, schema: pa.Schema | None = None, columns: list[str] | None = None) -> pa.Table:
    """Returns a parquet file, or every parquet file right under a folder in order of name, as one table.

    Raises:
        FileNotFoundError: if there is nothing to read.
        ValueError: if a file is damaged or lacks a column of `schema`, naming it.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise FileNotFoundError(f"{path}: no parquet file there")
    return pa.concat_tables([_read_file(file, schema, columns) for file in files])


def rows_table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Returns rows as a table of `schema`, sorted by uid where the schema has one."""
    table = pa.Table.from_pylist(list(rows), schema=schema)
    return table.sort_by("uid") if "uid" in schema.names else table


def _read_file(file: Path, schema: pa.Schema | None, columns: list[str] | None) -> pa.Table:
    try:
        table = pq.read_table(file, columns=columns, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file}: cannot be read as parquet ({' '.join(str(error).split())[:200]})") from None
    if schema is None:
        return table
    wanted = [field for field in schema if columns is None or field.name in columns]
    missing = [field.name for field in wanted if field.name not in table.column_names]
    if missing:
        raise ValueError(f"{file}: column {missing[0]} is missing")
    return table.select([field.name for field in wanted]).cast(pa.schema(wanted))
