"""The fold of stage select: snapshots, oldest first, each judged by the recipe and by what was kept before it.

What a rule says of a row depends on its snapshot, on the rows kept in earlier ones and on what was frozen with the
first: so a later snapshot never alters an earlier verdict. The fold is pure; where its steps run is the workers'
business.

Letters in names: N rows of one snapshot, in order of its parts.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rules import Recipe, Step
from pipelines.rules.base import Decision, RowRule, SnapshotRule, Turn, codes
from pipelines.rules.duplicates import Exact
from pipelines.rules.groups import equal_keys
from pipelines.selection import digits
from pipelines.selection.outcome import FAILED, KEPT, SEEN_BEFORE, Outcome, Past, Snapshot, Values
from pipelines.selection.rows import Bools, Ints, Part, Rows, Sources
from pipelines.selection.workers import Made, Workers, column, opened

_SPLIT = "seen_before"  # where the leaders' memory lies: a label that no rule can have


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RowTask:
    """One part for all row rules."""

    part: Part
    sources: Sources
    recipe: Recipe

    @property
    def name(self) -> str:
        """Name of the part."""
        return self.part.name


def fold(
    snapshots: Sequence[Snapshot], recipe: Recipe, sources: Sources, *, workers: Workers, num_partitions: int
) -> Iterator[Outcome]:
    """Yields the outcome of each snapshot, oldest first."""
    past = Past(names=(), starts=(), uid_N2=np.empty((0, 2), np.uint64), kept_N=np.empty(0, bool), memories={})
    for snapshot in snapshots:
        outcome = _judge(snapshot, recipe, sources, past, workers=workers, num_partitions=num_partitions)
        yield outcome
        past = outcome.past


def judge_rows(task: RowTask) -> pa.Table:
    """Returns, for each row of a part, what the fold needs of it, and each row rule's value and code.

    Columns: high and low (halves of the uid), pixels, measured; `value LABEL`, `code LABEL`.
    """
    rows = Rows(task.part, task.sources)
    uid_N2 = digits.words(rows.text("uid"), 2)
    pixels_N = np.nan_to_num(rows.number("width") * rows.number("height")).astype(np.int64)
    columns: dict[str, Any] = {"high": uid_N2[:, 0], "low": uid_N2[:, 1]}
    columns |= {"pixels": pixels_N, "measured": rows.measured()}
    for step in task.recipe:
        if isinstance(step.rule, RowRule):
            value, masks = step.rule.judge(rows)
            known = pa.array(value, from_pandas=True) if isinstance(value, np.ndarray) else value
            columns[f"value {step.label}"] = known
            columns[f"code {step.label}"] = codes(masks, len(rows))
    return pa.table(columns)


def _judge(
    snapshot: Snapshot, recipe: Recipe, sources: Sources, past: Past, *, workers: Workers, num_partitions: int
) -> Outcome:
    tasks = [RowTask(part=part, sources=sources, recipe=recipe) for part in snapshot.parts]
    made = workers.each(f"{snapshot.name} rows", tasks, judge_rows)
    turn = _first_turn(snapshot, sources, past, made, workers=workers, num_partitions=num_partitions)
    seen_N = seen_before(turn.uid_N2, past)
    rule_N = np.where(seen_N >= 0, SEEN_BEFORE, np.where(turn.measured_N, KEPT, FAILED)).astype(np.int16)
    code_N, duplicate_of_N = np.zeros(len(rule_N), np.uint8), seen_N.copy()
    bounds, values, memories = [], [], dict(past.memories)
    for place, step in enumerate(recipe):
        label = f"{snapshot.name} {step.label}"
        this = dataclasses.replace(turn, label=label, alive_N=rule_N == KEPT, memory=memories.get(step.label))
        decision, value = _decide(step, this, made)
        goes_N = this.alive_N & (decision.code_N > 0)
        rule_N[goes_N], code_N[goes_N] = place, decision.code_N[goes_N]
        if decision.duplicate_of_N is not None:
            duplicate_of_N[goes_N] = decision.duplicate_of_N[goes_N]
        memories[step.label] = decision.memory
        bounds.append(decision.bounds)
        values.append(value)
    leader_N, memories[_SPLIT] = _leaders(recipe, turn, rule_N == KEPT, memories.get(_SPLIT))
    return Outcome(
        snapshot=snapshot,
        recipe=recipe,
        sources=sources,
        starts=turn.starts,
        spans=_spans(turn),
        rule_N=rule_N,
        code_N=code_N,
        duplicate_of_N=_final(duplicate_of_N, turn),
        leader_N=leader_N,
        bounds=tuple(bounds),
        values=tuple(values),
        past=_continued(past, snapshot.name, turn, rule_N == KEPT, memories),
    )


def _first_turn(
    snapshot: Snapshot, sources: Sources, past: Past, made: Sequence[Made], *, workers: Workers, num_partitions: int
) -> Turn:
    """Returns the turn before the first rule's: every row measured and not seen before is in."""
    tables = [opened(table) for table in made]
    uid_N2 = np.stack([_column(tables, name, np.uint64) for name in ("high", "low")], axis=1)
    id_N = ranks(uid_N2, _column(tables, "pixels", np.int64)) + len(past.kept_N)
    measured_N = _column(tables, "measured", np.bool_)
    return Turn(
        label=snapshot.name,
        parts=snapshot.parts,
        starts=tuple(np.cumsum([0, *(table.num_rows for table in tables)]).tolist()),
        sources=sources,
        workers=workers,
        num_partitions=num_partitions,
        uid_N2=uid_N2,
        id_N=id_N,
        measured_N=measured_N,
        alive_N=measured_N,
        kept_before=past.kept_N,
        held_ids=workers.hold(f"{snapshot.name} ids", id_N),
        held_kept=workers.hold(f"{snapshot.name} kept", past.kept_N),
        memory=None,
    )


def _decide(step: Step, turn: Turn, made: Sequence[Made]) -> tuple[Decision, Values]:
    """Returns a rule's word on every row; a row rule has spoken already, part by part."""
    if isinstance(step.rule, SnapshotRule):
        decision = step.rule.decide(turn)
        held = turn.workers.hold(f"{turn.label} value", decision.value)
        return decision, Values(name=step.label, by_part=None, whole=held)
    code_N = _column([opened(table) for table in made], f"code {step.label}", np.uint8)
    decision = Decision(value=np.empty(0), code_N=code_N, bounds=step.rule.bounds())
    return decision, Values(name=f"value {step.label}", by_part=tuple(made), whole=None)


def ranks(uid_N2: npt.NDArray[np.uint64], pixels_N: Ints) -> Ints:
    """Returns each row's place in the order of duplicates: more pixels first, then by uid."""
    order = np.lexsort((uid_N2[:, 1], uid_N2[:, 0], -pixels_N))
    rank_N = np.empty(len(order), np.int64)
    rank_N[order] = np.arange(len(order))
    return rank_N


def seen_before(uid_N2: npt.NDArray[np.uint64], past: Past) -> Ints:
    """Returns the id of the row with the same uid that an earlier snapshot kept, or -1."""
    kept = np.flatnonzero(past.kept_N)
    found = pc.index_in(digits.keys(uid_N2), value_set=digits.keys(past.uid_N2[kept]))
    place_N: Ints = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.where(place_N < 0, -1, kept[place_N]) if len(kept) else place_N


def _leaders(recipe: Recipe, turn: Turn, kept_N: Bools, memory: Any) -> tuple[Ints, Any]:
    """Returns the oldest kept row with the same picture as each kept row: where several captions of one stay."""
    if Exact(same_image_captions="keep_one") in [step.rule for step in recipe]:
        return np.where(kept_N, turn.id_N, -1), None
    this = dataclasses.replace(turn, label=f"{turn.label} split", alive_N=kept_N, memory=memory)
    duplicate_of_N, _, files = equal_keys(this, "sha256", keep_all=False)
    return np.where(kept_N, np.where(duplicate_of_N < 0, turn.id_N, duplicate_of_N), -1), files


def _final(duplicate_of_N: Ints, turn: Turn) -> Ints:
    """Returns the last row of each chain: a duplicate of a duplicate is one of the row that stays in the end."""
    base = len(turn.kept_before)
    by_rank, final_N = np.full(len(turn.id_N), -1), duplicate_of_N.copy()
    by_rank[turn.id_N - base] = duplicate_of_N
    while True:
        here = np.flatnonzero(final_N >= base)
        following = by_rank[final_N[here] - base]
        going = following >= 0
        if not going.any():
            return final_N
        final_N[here[going]] = following[going]


def _continued(past: Past, name: str, turn: Turn, kept_N: Bools, memories: dict[str, Any]) -> Past:
    by_rank = np.empty(len(kept_N), np.int64)
    by_rank[turn.id_N - len(past.kept_N)] = np.arange(len(kept_N))
    return Past(
        names=(*past.names, name),
        starts=(*past.starts, len(past.kept_N)),
        uid_N2=np.concatenate([past.uid_N2, turn.uid_N2[by_rank]]),
        kept_N=np.concatenate([past.kept_N, kept_N[by_rank]]),
        memories=memories,
    )


def _spans(turn: Turn) -> tuple[tuple[int, int], ...]:
    cuts = [slice(start, stop) for start, stop in itertools.pairwise(turn.starts)]
    parts = [turn.uid_N2[cut, 0] for cut in cuts]
    return tuple((int(part.min()), int(part.max())) if len(part) else (0, 0) for part in parts)


def _column(tables: Sequence[pa.Table], name: str, kind: Any) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *(column(table, name) for table in tables)])
