"""A parquet file without some of its rows: in the schema, the order, the row groups and the compression that it has."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Goes = Callable[[pa.Table], Sequence[bool]]
"""Rows of a row group -> which of them are to go."""
_CODECS = {"UNCOMPRESSED": "none", "LZ4_RAW": "lz4"}


def drop(path: Path, made: Path, goes: Goes) -> None:
    """Writes the rows of `path` that stay to `made`, with all their columns; one row group is in memory at once."""
    with pq.ParquetFile(path) as file:
        codec = "snappy"
        if file.num_row_groups:
            name = file.metadata.row_group(0).column(0).compression
            codec = _CODECS.get(name, name.lower())
        with pq.ParquetWriter(made, file.schema_arrow, compression=codec) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                stays = [not is_gone for is_gone in goes(table)]
                writer.write_table(_compacted(table.filter(pa.array(stays, pa.bool_()))))


def _compacted(table: pa.Table) -> pa.Table:
    """Returns a table whose dictionaries hold nothing but what stands in it: filtering leaves them whole."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field, table.column(place).cast(field.type.value_type).cast(field.type))
    return table
