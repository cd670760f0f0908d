"""Plans: sorted records cut into one small file a task and joined again, in memory that does not grow with them.

A task then names its file instead of carrying its rows, and its worker reads no more than it needs.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lineage import records

_BATCH_ROWS = 1 << 16


def batches(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yields the rows of a parquet file in its order, at most 65 536 at a time.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged or lacks a column of `schema`, naming it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no parquet file there")
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in schema.names if name not in file.schema_arrow.names]
            if missing:
                raise ValueError(f"{path}: column {missing[0]} is missing")
            for batch in file.iter_batches(_BATCH_ROWS, columns=schema.names):
                yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read as parquet ({' '.join(str(error).split())[:200]})") from None


def cut(tables: Iterable[pa.Table], sizes: Iterable[int]) -> Iterator[pa.Table]:
    """Yields the rows of some tables in their order, in tables of `sizes` rows, each >= 1; together they are all."""
    rest, held, number = iter(tables), [], 0
    for size in sizes:
        while number < size:
            held.append(next(rest))
            number += held[-1].num_rows
        whole = pa.concat_tables(held)
        yield whole.slice(0, size)
        held, number = [whole.slice(size)], number - size
    assert number == sum(table.num_rows for table in rest) == 0, "the sizes add up to the rows"


def write(slices: Iterable[pa.Table], paths: Iterable[Path]) -> None:
    """Writes each slice to its path, unless an earlier run with the same inputs left it there."""
    for path, table in zip(paths, slices, strict=True):
        if not path.exists():
            records.write_table(table, path)


def num_rows(path: Path) -> int:
    """Returns the number of rows of a parquet file, from its footer alone.

    Raises:
        ValueError: if it cannot be read, naming it.
    """
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read as parquet ({' '.join(str(error).split())[:200]})") from None
