"""What a rule is: a row rule judges each row by itself, a snapshot rule needs all rows of the snapshot at once.

Letters in names: N rows of a snapshot (of a part, where a rule sees `rows`).
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.selection.rows import Bools, Floats, Ints, Part, Rows, Sources
from pipelines.selection.workers import Held, Made, Workers, loaded

Codes = npt.NDArray[np.uint8]
Bounds = tuple[tuple[str, str], ...]
"""(reason, threshold as text) of each ground a rule may drop a row for, in order of precedence."""
Value: TypeAlias = Floats | pa.Array
"""What a rule measured of each row: numbers, NaN where unknown, or strings, null where unknown."""


class Rule:
    """What every rule has."""

    __slots__ = ()

    def bounds(self) -> Bounds:
        """Returns the grounds on which the rule drops rows."""
        raise NotImplementedError

    def check(self, sources: Sources) -> None:
        """Checks that the rule finds what it needs.

        Raises:
            ValueError: saying what is missing.
        """


class RowRule(Rule):
    """A rule that looks at one row at a time."""

    __slots__ = ()

    def judge(self, rows: Rows) -> tuple[Value, Sequence[Bools]]:
        """Returns the value of each row and, for each of `bounds()`, which rows are out of it."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a snapshot rule says of N rows."""

    value: Floats
    """NaN where unknown."""
    code_N: Codes
    """0 keeps; n drops on the n-th of `bounds`."""
    bounds: Bounds
    duplicate_of_N: Ints | None = None
    """id of the row that stays instead, -1 where there is none."""
    memory: Any = None
    """What the rule wants to see again in the next snapshot's turn."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A rule's turn at one snapshot: what it may know.

    The id of a row is its rank among all rows of this snapshot and those before it, a total order: by snapshot, oldest
    first; within a snapshot more pixels first, then by uid. Among duplicates the least id stays.
    """

    label: str
    """Names the turn's steps: snapshot and rule."""
    parts: tuple[Part, ...]
    starts: tuple[int, ...]
    """Where each part's rows begin among the snapshot's N, and N at the end."""
    sources: Sources
    workers: Workers
    num_partitions: int
    uid_N2: npt.NDArray[np.uint64]
    id_N: Ints
    """Of this snapshot's rows: from len(kept_before) up."""
    measured_N: Bools
    """Rows that measure passed."""
    alive_N: Bools
    """Rows that no rule before has dropped."""
    kept_before: Bools
    """By id, for every row of the earlier snapshots: whether it was kept."""
    held_ids: Held
    """id_N, for tasks."""
    held_kept: Held
    """kept_before, for tasks."""
    memory: Any
    """What the rule's decision on the snapshot before carried; None at the first."""

    def over_parts(self, step: str, work: "PartWork", flag_N: Bools) -> list[Made]:
        """Returns what `work` makes of each part; it gets the part's rows, their ids and their share of `flag_N`."""
        label = f"{self.label} {step}"
        flags = self.workers.hold(f"{label} flags", flag_N)
        tasks = [
            PartTask(part=part, sources=self.sources, start=start, stop=stop, ids=self.held_ids, flags=flags, work=work)
            for part, start, stop in zip(self.parts, self.starts, self.starts[1:], strict=False)
        ]
        return self.workers.each(label, tasks, run_part)

    def positions(self, ids: Ints) -> Ints:
        """Returns where rows of this snapshot stand among its N, given their ids."""
        position_of_rank: Ints = np.empty(len(self.id_N), np.int64)
        position_of_rank[self.id_N - len(self.kept_before)] = np.arange(len(self.id_N))
        positions: Ints = position_of_rank[ids - len(self.kept_before)]
        return positions


PartWork = Callable[[Rows, Ints, Bools], pa.Table]
"""Rows of a part, their ids and a flag for each -> a table."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PartTask:
    """One part of a snapshot to work on."""

    part: Part
    sources: Sources
    start: int
    stop: int
    ids: Held
    flags: Held
    work: PartWork

    @property
    def name(self) -> str:
        """Name of the part."""
        return self.part.name


def run_part(task: PartTask) -> pa.Table:
    """Returns what a task's work makes of its part."""
    ids, flags = (np.asarray(loaded(held)[task.start : task.stop]) for held in (task.ids, task.flags))
    return task.work(Rows(task.part, task.sources), ids, flags)


class SnapshotRule(Rule):
    """A rule that needs every row of the snapshot, or something frozen with the first one."""

    __slots__ = ()

    def decide(self, turn: Turn) -> Decision:
        """Returns the rule's word on every row, also on those that are out already."""
        raise NotImplementedError


def demand_range(rule: object, name: str, low: float, high: float) -> None:
    """Checks that a rule's key lies in low..high, where it has a value.

    Raises:
        ValueError: naming the key.
    """
    value = getattr(rule, name)
    if value is not None and not low <= value <= high:
        raise ValueError(f"{name} must be in {low}..{high}, not {value}")


def demand_least(rule: object, **least: float) -> None:
    """Checks that keys of a rule are not below a bound.

    Raises:
        ValueError: naming the key.
    """
    for name, bound in least.items():
        if not getattr(rule, name) >= bound:
            raise ValueError(f"{name} must be >= {number_text(bound)}, not {getattr(rule, name)}")


def number_text(value: float) -> str:
    """Returns a threshold as text: 3.0 as 3, 0.28 as 0.28."""
    return f"{value:.12g}"


def codes(masks: Sequence[Bools], num_rows: int) -> Codes:
    """Returns (N,) 0 where no mask is set, else 1 + the first that is."""
    code_N = np.zeros(num_rows, np.uint8)
    for number, mask_N in reversed(list(enumerate(masks, start=1))):
        code_N[mask_N] = number
    return code_N


def out_of(score_N: Floats, low: float | None, high: float | None) -> tuple[Bools, Bools]:
    """Returns which scores are below `low`, and which are above `high`; a missing score is neither."""
    nowhere_N = np.zeros(len(score_N), bool)
    return nowhere_N if low is None else score_N < low, nowhere_N if high is None else score_N > high
