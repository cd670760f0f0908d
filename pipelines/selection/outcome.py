"""What the fold of stage select takes and gives: snapshots, and the verdicts on their rows as numbers.

Letters in names: N rows of one snapshot, in order of its parts.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.rules import Recipe
from pipelines.rules.base import Bounds, Codes
from pipelines.selection.rows import Bools, Ints, Part, Sources
from pipelines.selection.workers import Held, Made, loaded, opened

KEPT, SEEN_BEFORE, FAILED = -1, -2, -3
"""Beside the places of rules in the recipe: why a row's verdict is what it is."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """One snapshot to judge."""

    name: str
    parts: tuple[Part, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What later snapshots need of the earlier ones; arrays by id."""

    names: tuple[str, ...]
    starts: tuple[int, ...]
    """The first id of each snapshot."""
    uid_N2: npt.NDArray[np.uint64]
    kept_N: Bools
    memories: dict[str, Any]
    """What each rule remembers, by its label."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The verdicts on one snapshot, as numbers; `pipelines.selection.verdicts` puts them into words."""

    snapshot: Snapshot
    recipe: Recipe
    sources: Sources
    starts: tuple[int, ...]
    """Where each part's rows begin, and N at the end."""
    spans: tuple[tuple[int, int], ...]
    """Least and greatest uid of each part, by their first 64 bits; of a part without rows (0, 0)."""
    rule_N: npt.NDArray[np.int16]
    """Place in the recipe of the rule that dropped the row, or KEPT, SEEN_BEFORE, FAILED."""
    code_N: Codes
    """Which of the rule's bounds, from 1."""
    duplicate_of_N: Ints
    """id of the row that stays instead, or -1."""
    leader_N: Ints
    """id of the oldest kept row with the same picture, for kept rows; else -1."""
    bounds: tuple[Bounds, ...]
    """Of each rule."""
    values: "tuple[Values, ...]"
    """Of each rule."""
    past: Past
    """This snapshot included."""

    def count(self, rule: int) -> int:
        """Returns how many rows a rule dropped, or how many were KEPT, SEEN_BEFORE or FAILED."""
        return int((self.rule_N == rule).sum())


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Values:
    """What one rule measured of each row of a snapshot."""

    name: str
    by_part: tuple[Made, ...] | None
    """Tables with the column `name`, of a row rule."""
    whole: Held | None
    """Of a snapshot rule."""

    def of(self, part: int, start: int, stop: int) -> pa.Array:
        """Returns the values of one part, null where unknown."""
        if self.by_part is not None:
            return opened(self.by_part[part])[self.name].combine_chunks()
        assert self.whole is not None
        return pa.array(loaded(self.whole)[start:stop], from_pandas=True)

    def any_known(self, starts: Sequence[int]) -> bool:
        """Returns whether the rule knew something of any row."""
        parts = (self.of(part, *cut) for part, cut in enumerate(itertools.pairwise(starts)))
        return any(values.null_count < len(values) for values in parts)


def snapshot_of(signals: Path, embeddings: Path) -> Snapshot:
    """Returns one snapshot with its parts.

    Raises:
        FileNotFoundError: if it has none.
    """
    parts = tuple(Part(signals=path, embeddings=embeddings) for path in sorted(signals.glob("*.parquet")))
    if not parts:
        raise FileNotFoundError(f"{signals}: no signals there; `dvc repro measure@{signals.name}` makes them")
    return Snapshot(name=signals.name, parts=parts)
