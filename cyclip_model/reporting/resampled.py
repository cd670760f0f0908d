"""Each objective against the first one on rows drawn anew: what other test rows would give these very models.

Differences over seeds (reporting.differences) say what other seeds would give on these rows; both are needed, and one
seed has only this one.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from cyclip_model.metrics.bootstrap import paired
from cyclip_model.reporting.answers import AllAnswers, Asked, hits
from cyclip_model.reporting.results import Key, Table

_RANKED = re.compile(r"(?:top|recall)_(\d+)")
_GROUP = ("winoground", "test", "all", "group")
"""Winoground's answers are of whole examples: hits where all four comparisons are right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BootstrapConfig:
    """Section compare.bootstrap."""

    rounds: int
    """Times that the test rows are drawn anew, 1 or more."""
    seed: int
    """Of the draws."""

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.seed < 0:
            raise ValueError("rounds must be at least 1, and seed at least 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class Resampled:
    """One objective's share of hits less the baseline's, and the interval around it."""

    difference: float
    low: float
    high: float
    num_rows: int
    """Pictures or sentences that were drawn from."""

    @property
    def is_apart(self) -> bool:
        """Whether the interval is all on one side of 0."""
        return self.low > 0 or self.high < 0


def against_first(
    table: Table, answers: AllAnswers, family: Collection[Key], confidence: float, config: BootstrapConfig
) -> dict[tuple[Key, str], Resampled]:
    """(metric, objective) -> how it stands to the first objective, of the family's metrics that follow from ranks.

    An interval is of that comparison alone: it is not corrected for the number of them.
    """
    baseline, *others = table.objectives
    found = {}
    for asked, ks in _ranked(family).items():
        by_objective = answers.on_same_rows(asked)
        if baseline not in by_objective:
            continue
        base = hits(by_objective[baseline], list(ks))
        for objective in (name for name in others if name in by_objective):
            mine = hits(by_objective[objective], list(ks))
            for k, key in ks.items():
                drawn = paired(mine[k], base[k], rounds=config.rounds, seed=config.seed, confidence=confidence)
                found[key, objective] = Resampled(
                    difference=drawn[0], low=drawn[1], high=drawn[2], num_rows=len(base[k])
                )
    return found


def _ranked(family: Collection[Key]) -> dict[Asked, dict[int, Key]]:
    """Question -> k -> the metric that is the share of hits among the first k."""
    found: dict[Asked, dict[int, Key]] = {}
    for key in family:
        ranked = _RANKED.fullmatch(key[4])
        if key[1:] == _GROUP:
            found.setdefault((*key[:3], "group"), {})[1] = key
        elif ranked:
            found.setdefault(key[:4], {})[int(ranked[1])] = key
    return found
