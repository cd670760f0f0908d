"""The rule that leaves one of the pictures that look alike.

Letters in names: N rows of the snapshot, P pairs.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.likeness import decontamination, looks, near
from pipelines.likeness.hamming import MAX_DISTANCE
from pipelines.rules.base import Bounds, Decision, SnapshotRule, Turn, demand_range, number_text
from pipelines.rules.duplicates import SameImage, decision, keepers
from pipelines.rules.groups import pictures
from pipelines.selection import digits
from pipelines.selection.rows import Bools, Floats, Ints, Rows, fixed_bytes
from pipelines.selection.workers import Held, column, loaded, opened

Thumbnails = Sequence[Held]
"""(n, 192) uint8 of the measured rows of each snapshot so far."""
_LOOKS = pa.schema(
    [("id", pa.int64()), ("hash", pa.uint64()), ("picture", pa.uint64()), ("alive", pa.bool_()), ("place", pa.int64())]
)
"""`place` is the row's in the thumbnails."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicate(SnapshotRule):
    """Drops pictures that look like one kept, by perceptual hash and thumbnail; greedy, without chains.

    The hash sees grey structure only, so a green book is an orange one to it; the thumbnail tells them apart.
    """

    max_distance: int
    """Of the hashes, bits of 64, 0 to 24."""
    max_rmse: float | None
    """Of the thumbnails, root mean square in grey levels, 0 to 255; null asks the hash alone."""
    same_image_captions: SameImage

    def __post_init__(self) -> None:
        demand_range(self, "max_distance", 0, MAX_DISTANCE)
        demand_range(self, "max_rmse", 0, 255)

    def bounds(self) -> Bounds:
        """One: the distance, and the thumbnails'."""
        return (("duplicate_near", look_text(self.max_distance, self.max_rmse)),)

    def decide(self, turn: Turn) -> Decision:
        """Value: the distance to the row that stays instead; of a row that is out already, to the nearest that stays.

        Null where nothing that stays is within the bounds, and where the row itself stays.
        """
        made = turn.over_parts("looks", partial(looks_of, thumbnails=self.max_rmse is not None), turn.alive_N)
        before, thumbnails = turn.memory or (_LOOKS.empty_table(), ())
        first = sum(len(loaded(held)) for held in thumbnails)
        tables = [_LOOKS.empty_table(), *(opened(table) for table in made)]
        if self.max_rmse is not None:
            thumbnails = (*thumbnails, _joined(turn, tables[1:]))
        now = _numbered([table.select(_LOOKS.names[:-1]) for table in tables], first)
        kept = before.filter(pa.array(turn.kept_before[column(before, "id")]))
        duplicate_of_N, value_N = self._decide(turn, kept, now, thumbnails)
        return decision(self.bounds(), duplicate_of_N, value_N, (pa.concat_tables([kept, now]), thumbnails))

    def _decide(self, turn: Turn, before: pa.Table, now: pa.Table, thumbnails: Thumbnails) -> tuple[Ints, Floats]:
        """Returns the id that stays instead and the value of each row of the snapshot."""
        alive, out = now.filter(now["alive"]), now.filter(pc.invert(now["alive"]))
        both = pa.concat_tables([before, alive]).combine_chunks()
        ids, hashes, place = (column(both, name) for name in ("id", "hash", "place"))

        def decide(rows: Ints, fixed: Bools) -> Ints:
            confirm = self._confirm(thumbnails, place[rows], place[rows])
            return near.near_duplicates(hashes[rows], ids[rows], self.max_distance, fixed_N=fixed, confirm=confirm)

        keep_all = self.same_image_captions == "keep_all"
        keeper = keepers(ids, column(both, "picture"), before.num_rows, decide, keep_all=keep_all)
        goes, stays = np.flatnonzero(keeper >= 0), np.flatnonzero(keeper < 0)
        duplicate_of_N, value_N = np.full(len(turn.id_N), -1), np.full(len(turn.id_N), np.nan)
        position = turn.positions(ids[goes])
        duplicate_of_N[position] = ids[keeper[goes]]
        value_N[position] = distances(hashes[goes], hashes[keeper[goes]])
        confirm = self._confirm(thumbnails, column(out, "place"), place[stays])
        distance, _ = decontamination.nearest_hash(
            column(out, "hash"), hashes[stays], self.max_distance, confirm=confirm
        )
        value_N[turn.positions(column(out, "id"))] = np.where(distance < 0, np.nan, distance)
        return duplicate_of_N, value_N

    def _confirm(self, thumbnails: Thumbnails, left: Ints, right: Ints) -> Callable[[Ints, Ints], Bools] | None:
        if self.max_rmse is None:
            return None
        return partial(_look_alike, [loaded(held) for held in thumbnails], self.max_rmse, left, right)


def looks_of(rows: Rows, ids: Ints, flags: Bools, *, thumbnails: bool) -> pa.Table:
    """Returns id, hash, picture, flag and, if asked for, thumbnail of the measured rows of a part."""
    hash_N, known_N = rows.hashes()
    columns: dict[str, Any] = {"id": ids, "hash": hash_N, "picture": pictures(rows), "alive": flags}
    if thumbnails:
        columns["thumbnail"], seen_N = rows.thumbnails()
        known_N &= seen_N
    return pa.table(columns).filter(pa.array(known_N & rows.measured()))


def distances(first: digits.Words, second: digits.Words) -> Floats:
    """Returns in how many bits hashes differ, row by row."""
    bits = np.unpackbits((first ^ second).view(np.uint8).reshape(-1, 8), axis=1)
    apart: Floats = bits.sum(axis=1).astype(np.float64)
    return apart


def look_text(max_distance: int, max_rmse: float | None) -> str:
    """Returns the bounds on a look as text."""
    return f"{max_distance} bits" + ("" if max_rmse is None else f", rmse {number_text(max_rmse)}")


def _numbered(tables: Sequence[pa.Table], first: int) -> pa.Table:
    table = pa.concat_tables(tables).combine_chunks()
    return table.append_column("place", pa.array(np.arange(first, first + table.num_rows)))


def _joined(turn: Turn, tables: Sequence[pa.Table]) -> Held:
    """Returns the thumbnails of all parts, in a file where the workers keep files: 192 bytes a row are too many."""
    arrays = [fixed_bytes(chunk) for table in tables for chunk in table["thumbnail"].chunks]
    return turn.workers.join(f"{turn.label} thumbnails", [np.empty((0, looks.NUM_BYTES), np.uint8), *arrays])


def _look_alike(
    thumbnails: Sequence[looks.Thumbnails], max_rmse: float, left: Ints, right: Ints, i: Ints, j: Ints
) -> Bools:
    """Returns which pairs (row i of left, row j of right), given by their places, have thumbnails within the bound."""
    pairs, alike = np.arange(_BLOCK), np.empty(len(i), bool)
    for start in range(0, len(i), _BLOCK):
        part = slice(start, start + _BLOCK)
        first, second = _taken(thumbnails, left[i[part]]), _taken(thumbnails, right[j[part]])
        here = pairs[: len(first)]
        alike[part] = looks.differences(first, second, here, here) <= max_rmse
    return alike


_BLOCK = 1 << 16


def _taken(thumbnails: Sequence[looks.Thumbnails], place: Ints) -> looks.Thumbnails:
    starts = np.cumsum([0, *(len(array) for array in thumbnails)])
    taken = np.empty((len(place), looks.NUM_BYTES), np.uint8)
    for number, array in enumerate(thumbnails):
        here = np.flatnonzero((place >= starts[number]) & (place < starts[number + 1]))
        taken[here] = array[place[here] - starts[number]]
    return taken
