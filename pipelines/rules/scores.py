"""Rules on scores: of the scorer, of the list, of the user's own table; thresholds and top fractions."""

import dataclasses
import math
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.rules.base import (
    Bounds,
    Decision,
    RowRule,
    SnapshotRule,
    Turn,
    Value,
    codes,
    demand_range,
    number_text,
    out_of,
)
from pipelines.rules.tongues import demand_languages
from pipelines.selection.rows import Bools, Floats, Ints, Rows
from pipelines.selection.workers import opened

Missing = Literal["keep", "drop"]
"""What becomes of a row without the score."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ClipScore(RowRule):
    """Drops pairs whose picture and caption are too far apart in the scorer's space."""

    min: float
    """Cosine, -1 to 1."""
    missing: Missing
    """keep or drop a pair the scorer left out."""

    def __post_init__(self) -> None:
        demand_range(self, "min", -1, 1)

    def bounds(self) -> Bounds:
        """Two: the cosine, and having one."""
        return ("low_clip_score", number_text(self.min)), ("score_missing", "clip_score")

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools, Bools]]:
        """Value: the cosine."""
        score_N = rows.score("clip_score")
        return score_N, (score_N < self.min, _missing(score_N, self.missing))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Laion2b(RowRule):
    """LAION-2B's rule as DataComp states it (arXiv 2304.14108, appendix N): CLIP score, and English by cld3.

    The language here is fastText's; the published 0.28 belongs to OpenAI's ViT-B/32.
    """

    min_clip_score: float
    """Cosine (LAION: 0.28)."""
    language: str
    """The caption's most likely one must be this; ISO 639 (LAION-2B-en: en)."""
    missing: Missing
    """keep or drop a pair the scorer left out."""

    def __post_init__(self) -> None:
        demand_languages("language", [self.language])
        demand_range(self, "min_clip_score", -1, 1)

    def bounds(self) -> Bounds:
        """Three: the cosine, the language, and having a cosine."""
        score = number_text(self.min_clip_score)
        return ("low_clip_score", score), ("language", self.language), ("score_missing", "clip_score")

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools, ...]]:
        """Value: the cosine and the language."""
        score_N, language = rows.score("clip_score"), rows.text("language")
        shown = pa.array(score_N, from_pandas=True).cast(pa.string())
        value = pc.binary_join_element_wise(shown, language, " ", null_handling="replace", null_replacement="?")
        other_N = pc.fill_null(pc.not_equal(language, self.language), True).to_numpy(zero_copy_only=False)
        return value, (score_N < self.min_clip_score, other_N, _missing(score_N, self.missing))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Score(RowRule):
    """Drops rows by any score: of the list or the user's table by its name, of the signals by its column."""

    name: str
    """aesthetic, unsafe, watermark, similarity, faces, bytes, url_chars, ..."""
    min: float | None
    max: float | None
    missing: Missing
    """keep or drop a row without the score."""

    def bounds(self) -> Bounds:
        """Three: either end, and having the score."""
        low, high = ("-" if bound is None else number_text(bound) for bound in (self.min, self.max))
        return ("score_too_low", low), ("score_too_high", high), ("score_missing", self.name)

    def judge(self, rows: Rows) -> tuple[Value, tuple[Bools, ...]]:
        """Value: the score."""
        score_N = rows.score(self.name)
        return score_N, (*out_of(score_N, self.min, self.max), _missing(score_N, self.missing))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TopFraction(SnapshotRule):
    """Keeps the rows of a snapshot with the highest scores among those still in; ties at the end are all kept."""

    score: str
    """As for the rule `score`; clip_score too."""
    fraction: float
    """Of the rows that have the score, 0 to 1 (DataComp's best: 0.3 of CLIP L/14 scores)."""
    missing: Missing
    """keep or drop a row without the score."""

    def __post_init__(self) -> None:
        demand_range(self, "fraction", 0, 1)
        if not self.fraction:
            raise ValueError("fraction must be above 0: nothing would be kept")

    def bounds(self) -> Bounds:
        """Two: the last score that is in, which is each snapshot's own, and having one."""
        return self._bounds("-")

    def decide(self, turn: Turn) -> Decision:
        """Value: the score."""
        made = turn.over_parts("scores", partial(score_of, self.score), turn.alive_N)
        score_N = np.concatenate([np.empty(0), *(opened(table)["score"].to_numpy() for table in made)])
        ranked = -np.sort(-score_N[turn.alive_N & ~np.isnan(score_N)])
        number = math.ceil(self.fraction * len(ranked))
        lowest = ranked[number - 1] if number else np.inf
        code_N = codes((score_N < lowest, _missing(score_N, self.missing)), len(score_N))
        return Decision(value=score_N, code_N=code_N, bounds=self._bounds(number_text(lowest)))

    def _bounds(self, lowest: str) -> Bounds:
        return ("below_top_fraction", lowest), ("score_missing", self.score)


def score_of(name: str, rows: Rows, _ids: Ints, _flags: Bools) -> pa.Table:
    """Returns a score of each row of a part."""
    return pa.table({"score": rows.score(name)})


def _missing(score_N: Floats, missing: Missing) -> Bools:
    return np.isnan(score_N) if missing == "drop" else np.zeros(len(score_N), bool)
