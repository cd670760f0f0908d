"""Rows of a snapshot, and kept rows of those before, brought together by a key: one partition of keys at a time.

Each part is written sorted by partition; a partition's task opens every file and reads its own slice. So the memory is
that of one part or one partition, however many rows there are.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rules.base import Turn
from pipelines.selection import digits
from pipelines.selection.rows import Bools, Ints, Rows
from pipelines.selection.workers import Held, Made, column, loaded, opened

Reduce = Callable[[pa.Table, pa.Table], pa.Table]
"""(rows of this snapshot, kept rows of earlier ones) of one partition -> a table with a column `id`."""
_NUM_PARTITION_BITS = 16


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GroupTask:
    """One partition of the keys."""

    number: int
    now: Sequence[Made]
    before: Sequence[Made]
    kept_before: Held
    reduce: Reduce

    @property
    def name(self) -> str:
        """Its number, so that names sort."""
        return f"{self.number:05d}"


def grouped(turn: Turn, now: Sequence[Made], before: Sequence[Made], reduce: Reduce) -> list[pa.Table]:
    """Returns what `reduce` makes of each partition.

    Args:
        now: this snapshot's parts, each with columns `partition`, ascending, and `id`.
        before: the same of earlier snapshots; their rows that were not kept are left out.
    """
    tasks = [
        GroupTask(number=number, now=now, before=before, kept_before=turn.held_kept, reduce=reduce)
        for number in range(turn.num_partitions)
    ]
    return [opened(made) for made in turn.workers.each(f"{turn.label} groups", tasks, run_group)]


def run_group(task: GroupTask) -> pa.Table:
    """Returns what a task's `reduce` makes of its partition."""
    now, before = (_partition(files, task.number) for files in (task.now, task.before))
    if before is not None:
        before = before.filter(pa.array(loaded(task.kept_before)[column(before, "id")]))
    if now is None:
        return pa.table({"id": pa.array([], pa.int64())})
    return task.reduce(now, now.slice(0, 0) if before is None else before)


def by_key(name: str, num_partitions: int, rows: Rows, ids: Ints, flags: Bools) -> pa.Table:
    """Returns the measured rows of a part with their key: partition, key, picture, id, alive; sorted by partition.

    Args:
        name: column of hex digits that is the key; of several, parted by `+`, their texts together.
    """
    columns = [rows.text(part) for part in name.split("+")]
    key = pc.binary_join_element_wise(*columns, "") if len(columns) > 1 else columns[0]
    there = np.flatnonzero(rows.measured())
    made = {"key": key, "picture": pictures(rows), "id": ids, "alive": flags}
    partition_N = partitions(digits.words(key, 1)[:, 0], num_partitions)
    return sorted_by_partition(pa.table({"partition": partition_N, **made}).take(there))


def sorted_by_partition(table: pa.Table) -> pa.Table:
    """Returns a table in order of its column `partition`, within one in the order it has."""
    return table.take(np.argsort(column(table, "partition"), kind="stable"))


def partitions(words_N: npt.NDArray[np.uint64], num_partitions: int) -> npt.NDArray[np.uint16]:
    """Returns (N,) which of the partitions each key falls in, by its first bits."""
    first = words_N >> np.uint64(64 - _NUM_PARTITION_BITS)
    return ((first * np.uint64(num_partitions)) >> np.uint64(_NUM_PARTITION_BITS)).astype(np.uint16)


def pictures(rows: Rows) -> npt.NDArray[np.uint64]:
    """Returns (N,) the first 64 bits of each picture's sha256, which tell copies among rows that look alike."""
    return digits.words(rows.text("sha256"), 1)[:, 0]


def first_of_each(now: pa.Table, before: pa.Table, *, keep_all: bool) -> pa.Table:
    """Returns for each row of this snapshot the row with the same key that stays instead, and how many share the key.

    Args:
        now: columns key, picture, id, alive.
        before: the same; all of them stay.
        keep_all: rows with the very picture of the one that stays are left alone.

    Returns:
        id; duplicate_of, an id or -1; copies: rows of both tables with the key.
    """
    both = pa.concat_tables([before, now])
    code, num_codes = _coded(both["key"])
    id_all, picture_all = column(both, "id"), column(both, "picture")
    candidate = np.flatnonzero(np.concatenate([np.ones(before.num_rows, bool), column(now, "alive")]))
    ordered = candidate[np.lexsort((id_all[candidate], code[candidate]))]
    codes_there, first = np.unique(code[ordered], return_index=True)
    leader = np.full(num_codes, -1)
    leader[codes_there] = ordered[first]

    leader_N = leader[code[before.num_rows :]]
    id_N = column(now, "id")
    goes_N = (leader_N >= 0) & (id_all[leader_N] != id_N)
    if keep_all:
        goes_N &= picture_all[leader_N] != column(now, "picture")
    copies_N = np.bincount(code, minlength=num_codes)[code[before.num_rows :]]
    return pa.table({"id": id_N, "duplicate_of": np.where(goes_N, id_all[leader_N], -1), "copies": copies_N})


def scattered(turn: Turn, tables: Sequence[pa.Table], name: str, fill: Any) -> npt.NDArray[Any]:
    """Returns a column of the partitions' tables in the order of the snapshot's rows; `fill` where a row has none."""
    array = np.full(len(turn.id_N), fill)
    made = [table for table in tables if table.num_rows]
    if made:
        ids, values = (np.concatenate([column(table, one) for table in made]) for one in ("id", name))
        array[turn.positions(ids)] = values
    return array


def equal_keys(turn: Turn, key: str, *, keep_all: bool) -> tuple[Ints, npt.NDArray[np.float64], Sequence[Made]]:
    """Returns, over the snapshot's rows, the id that stays instead (or -1) and how many share the key (NaN unmeasured).

    The third are the files to give back in the memory of the turn.
    """
    earlier = turn.memory or ()
    now = turn.over_parts("keys", partial(by_key, key, turn.num_partitions), turn.alive_N)
    tables = grouped(turn, now, earlier, partial(first_of_each, keep_all=keep_all))
    return scattered(turn, tables, "duplicate_of", -1), scattered(turn, tables, "copies", np.nan), (*earlier, *now)


def _partition(files: Sequence[Made], number: int) -> pa.Table | None:
    slices = []
    for made in files:
        table = opened(made)
        start, stop = np.searchsorted(column(table, "partition"), [number, number + 1])
        if stop > start:
            slices.append(table.slice(start, stop - start))
    return pa.concat_tables(slices).combine_chunks() if slices else None


def _coded(keys: pa.ChunkedArray) -> tuple[Ints, int]:
    """Returns a number for each key, the same for equal ones, and how many there are."""
    if len(keys) == 0:
        return np.empty(0, np.int64), 0
    encoded = keys.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)
