"""Rules that leave one of what is the same, bytes or pixels; and captions that stand at too many pictures.

Of each set of alike rows the least id stays: those kept in earlier snapshots, then more pixels, then the lesser uid.
With `same_image_captions: keep_all` several captions of one picture, byte for byte, are no duplicates.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipelines.rules.base import Bounds, Codes, Decision, SnapshotRule, Turn
from pipelines.rules.groups import by_key, equal_keys, first_of_each, grouped, scattered
from pipelines.selection.rows import Bools, Floats, Ints

SameImage = Literal["keep_one", "keep_all"]
"""What becomes of several captions of one picture."""
Pictures = npt.NDArray[np.uint64]
"""The first 64 bits of each picture's sha256."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Exact(SnapshotRule):
    """Drops pictures that are kept already, byte for byte; with keep_all only where the caption is the same, too."""

    same_image_captions: SameImage

    def bounds(self) -> Bounds:
        """One: copies."""
        return (("duplicate_exact", "1"),)

    def decide(self, turn: Turn) -> Decision:
        """Value: how many rows of the snapshot, and kept ones before, share bytes (and caption)."""
        key = "sha256" if self.same_image_captions == "keep_one" else "sha256+caption_sha256"
        duplicate_of_N, copies_N, files = equal_keys(turn, key, keep_all=False)
        return decision(self.bounds(), duplicate_of_N, copies_N, files)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pixels(SnapshotRule):
    """Drops pictures that are kept already, pixel for pixel, in whatever file format."""

    same_image_captions: SameImage

    def bounds(self) -> Bounds:
        """One: copies."""
        return (("duplicate_pixels", "1"),)

    def decide(self, turn: Turn) -> Decision:
        """Value: how many rows of the snapshot, and kept ones before, share pixels."""
        keep_all = self.same_image_captions == "keep_all"
        duplicate_of_N, copies_N, files = equal_keys(turn, "pixel_sha256", keep_all=keep_all)
        return decision(self.bounds(), duplicate_of_N, copies_N, files)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RepeatedCaption(SnapshotRule):
    """Drops captions that stand in the snapshot too many times: they say nothing of the picture."""

    max_times: int
    """Rows of one snapshot; the count of another never matters."""

    def bounds(self) -> Bounds:
        """One: the times."""
        return (("caption_boilerplate", str(self.max_times)),)

    def decide(self, turn: Turn) -> Decision:
        """Value: how many measured rows of the snapshot have the caption, but for case and white space."""
        now = turn.over_parts("keys", partial(by_key, "caption_sha256", turn.num_partitions), turn.alive_N)
        tables = grouped(turn, now, (), partial(first_of_each, keep_all=False))
        times_N = scattered(turn, tables, "copies", np.nan)
        return Decision(value=times_N, code_N=(times_N > self.max_times).astype(np.uint8), bounds=self.bounds())


def keepers(
    ids: Ints, pictures_N: Pictures, num_fixed: int, decide: Callable[[Ints, Bools], Ints], *, keep_all: bool
) -> Ints:
    """Returns for each row the row that stays instead, or -1 where it stays.

    Args:
        ids: ranks of the rows.
        pictures_N: what tells which rows have the same picture, byte for byte.
        num_fixed: so many rows, the first, stay whatever they look like.
        decide: (rows, which of them are fixed) -> place among them of the one that stays instead, or -1.
        keep_all: rows of one picture fare alike and are no duplicates of one another.
    """
    first = first_with_picture(pictures_N, ids) if keep_all else np.arange(len(ids))
    speaks = np.flatnonzero(first == np.arange(len(ids)))
    keeper = decide(speaks, speaks < num_fixed)
    named = np.full(len(ids), -1)
    named[speaks] = np.where(keeper < 0, -1, speaks[keeper])
    return named[first]


def first_with_picture(pictures_N: Pictures, ids: Ints) -> Ints:
    """Returns for each row the row of least id with the same picture."""
    order = np.lexsort((ids, pictures_N))
    _, start, group = np.unique(pictures_N[order], return_index=True, return_inverse=True)
    first = np.empty(len(ids), np.int64)
    first[order] = order[start[group]]
    return first


def decision(bounds: Bounds, duplicate_of_N: Ints, value_N: Floats, memory: object) -> Decision:
    """Returns what a rule says that drops every row for which another stays."""
    code_N: Codes = (duplicate_of_N >= 0).astype(np.uint8)
    return Decision(value=value_N, code_N=code_N, bounds=bounds, duplicate_of_N=duplicate_of_N, memory=memory)
