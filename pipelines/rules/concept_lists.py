"""Rules over the list of wanted concepts, data/concepts.txt: DataComp's text-based filter and MetaCLIP's balancing.

Letters in names: N rows, E entries of the list.
"""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rules import concepts
from pipelines.rules.base import Bounds, Decision, RowRule, SnapshotRule, Turn, Value, number_text
from pipelines.selection.rows import Bools, Ints, Rows, Sources, remembered
from pipelines.selection.workers import Held, column, loaded, opened


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TextBased(RowRule):
    """DataComp's text-based filter (arXiv 2304.14108, section 4.1): keeps captions that name a wanted concept.

    DataComp takes the names of ImageNet-21k's synsets; here they are what data/concepts.txt lists. Its other condition,
    English, is the rule `language`.
    """

    def bounds(self) -> Bounds:
        """One: naming a concept."""
        return (("off_concept", "data/concepts.txt"),)

    def check(self, sources: Sources) -> None:
        """The list must not be empty."""
        _demand_concepts(sources)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools]]:
        """Value: the first concept of the list that the caption names."""
        matcher = remembered(read_matcher, rows.sources.concepts)
        found = [matcher.match(caption or "") for caption in rows.text("caption").to_pylist()]
        value = pa.array([matcher.entries[places[0]] if places else None for places in found], pa.string())
        off = pc.and_(pc.is_null(value), pc.is_valid(rows.text("caption")))
        return value, (off.to_numpy(zero_copy_only=False),)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Balance(SnapshotRule):
    """MetaCLIP's balancing (arXiv 2309.16671, algorithm 1): thins out frequent concepts, and what names none goes.

    How often each concept stands is counted over the rows of the first snapshot that are still in, once for all.
    """

    max_pairs: float
    """t, pairs of one concept that may stay for certain (MetaCLIP: 20 000 of 400 million)."""

    def __post_init__(self) -> None:
        if not self.max_pairs > 0:
            raise ValueError(f"max_pairs must be > 0, not {self.max_pairs}")

    def bounds(self) -> Bounds:
        """One: the draw."""
        return (("balanced_out", f"t = {number_text(self.max_pairs)}"),)

    def check(self, sources: Sources) -> None:
        """The list of concepts must not be empty."""
        _demand_concepts(sources)

    def decide(self, turn: Turn) -> Decision:
        """Value: with which probability the pair stays."""
        probability = turn.memory
        if probability is None:
            counts_E = count(turn)
            probability_E = concepts.keep_probabilities(counts_E, self.max_pairs)
            probability = turn.workers.hold(f"{turn.label} probabilities", probability_E)
        tables = [opened(made) for made in turn.over_parts("draws", partial(draws_of, probability), turn.alive_N)]
        value_N = np.concatenate([np.empty(0), *(column(table, "probability") for table in tables)])
        drawn_N = np.concatenate([np.empty(0, bool), *(column(table, "drawn") for table in tables)])
        code_N = (~drawn_N).astype(np.uint8)
        return Decision(value=value_N, code_N=code_N, bounds=self.bounds(), memory=probability)


def count(turn: Turn) -> Ints:
    """Returns how many rows that are still in name each concept, (E,)."""
    num_entries = len(remembered(read_matcher, turn.sources.concepts).entries)
    tables = turn.over_parts("counts", counts_of, turn.alive_N)
    counts = [column(opened(made), "count") for made in tables]
    total_E: Ints = np.sum([np.zeros(num_entries, np.int64), *counts], axis=0, dtype=np.int64)
    return total_E


def counts_of(rows: Rows, _ids: Ints, flags: Bools) -> pa.Table:
    """Returns how many of the flagged rows of a part name each concept: one row a concept."""
    matcher = remembered(read_matcher, rows.sources.concepts)
    captions = rows.text("caption").filter(pa.array(flags)).to_pylist()
    matches = (matcher.match(caption or "") for caption in captions)
    return pa.table({"count": concepts.count_matches(matches, len(matcher.entries))})


def draws_of(probability: Held, rows: Rows, _ids: Ints, _flags: Bools) -> pa.Table:
    """Returns with which probability each row of a part stays, and whether it does."""
    matcher, probability_E = remembered(read_matcher, rows.sources.concepts), loaded(probability)
    uids, captions = rows.text("uid").to_pylist(), rows.text("caption").to_pylist()
    chances, drawn = np.full(len(rows), np.nan), np.zeros(len(rows), bool)
    for place, (uid, caption) in enumerate(zip(uids, captions, strict=True)):
        if caption is not None:
            named = {matcher.entries[entry]: float(probability_E[entry]) for entry in matcher.match(caption)}
            chances[place] = concepts.keep_probability(named.values())
            drawn[place] = concepts.is_drawn(uid, named)
    return pa.table({"probability": chances, "drawn": drawn})


def read_matcher(path: Path) -> concepts.Matcher:
    """Returns the matcher of a list of concepts."""
    return concepts.Matcher(concepts.read_concepts(path))


def _demand_concepts(sources: Sources) -> None:
    if not concepts.read_concepts(sources.concepts):
        raise ValueError(f"needs wanted concepts, but {sources.concepts} is empty; put one a line into it")
