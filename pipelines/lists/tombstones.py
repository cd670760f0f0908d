"""What stays of the rows that a takedown took out of a URL list: their hashes, in opted_out.parquet beside it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lineage import records

OPTED_OUT = "opted_out.parquet"
"""The file beside a list that keeps the hashes of the rows taken down, each uid once."""
TOMBSTONES = pa.schema([(name, pa.string()) for name in ("uid", "url_sha256", "host_sha256")])


def read(folder: Path) -> pa.Table:
    """Returns TOMBSTONES of the list kept in `folder`, sorted by uid; none where nothing was taken down.

    Raises:
        ValueError: if the file is damaged, naming it.
    """
    path = folder / OPTED_OUT
    return records.read_table(path, TOMBSTONES) if path.is_file() else TOMBSTONES.empty_table()


def add(more: pa.Table, folder: Path) -> None:
    """Adds TOMBSTONES to those of the list kept in `folder`; what is there already changes nothing."""
    before = read(folder)
    new = more.filter(pc.invert(pc.is_in(more["uid"], value_set=before["uid"].combine_chunks())))
    if new.num_rows:
        distinct = {row["uid"]: row for row in new.to_pylist()}
        both = pa.concat_tables([before, pa.Table.from_pylist(list(distinct.values()), TOMBSTONES)])
        records.write_table(both.sort_by("uid"), folder / OPTED_OUT)
