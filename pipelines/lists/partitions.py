"""Rows put aside on disk by the first digits of their uid, and read back in order of uid, a partition at a time.

A uid is a hash, so partitions are of equal size, and only one of them has to fit into memory.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MAX_PARTITIONS = 512
"""Each is an open file while rows are put aside; 1024 are usually allowed."""
MAX_PARTITION_BYTES = 1 << 31
"""Of one column's text Arrow sorts no more at a time."""
_PREFIX_DIGITS = 4


class Partitions:
    """Tables with a column `uid` (hex digits), as Arrow streams under `folder`; rows come while the context lasts."""

    def __init__(self, folder: Path, schema: pa.Schema, num_partitions: int) -> None:
        self._folder, self._schema, self._number = folder, schema, num_partitions
        # the partition of each uid prefix: not decreasing, so that partitions follow each other in order of uid
        self._of_prefix = np.arange(16**_PREFIX_DIGITS) * num_partitions >> 4 * _PREFIX_DIGITS

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        self._writers = [pa.ipc.new_stream(str(self._path(n)), self._schema) for n in range(self._number)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers:
            writer.close()

    def add(self, table: pa.Table) -> None:
        """Puts rows aside; within a partition they keep the order in which they come."""
        prefixes = pc.utf8_slice_codeunits(table["uid"], 0, _PREFIX_DIGITS).to_pylist()
        place_N = self._of_prefix[np.array([int(prefix, 16) for prefix in prefixes], np.int64)]
        order_N = np.argsort(place_N, kind="stable")
        ordered = table.take(pa.array(order_N)).combine_chunks()
        bounds = np.searchsorted(place_N[order_N], np.arange(self._number + 1))
        for writer, start, end in zip(self._writers, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            if end > start:
                writer.write_table(ordered.slice(start, end - start))

    def tables(self) -> Iterator[pa.Table]:
        """Yields each partition sorted by uid, rows of one uid in the order in which they came; its file then goes.

        Only after the context has ended.

        Raises:
            ValueError: if a partition is too large.
        """
        for number in range(self._number):
            if self._path(number).stat().st_size > MAX_PARTITION_BYTES:
                raise ValueError(f"a partition has more than {MAX_PARTITION_BYTES} bytes; raise source.num_partitions")
            yield _sorted(self._path(number))
            self._path(number).unlink()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.arrow"


def _sorted(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_stream(file).read_all()
        return table.take(pc.sort_indices(table["uid"]))  # sort_indices is stable
