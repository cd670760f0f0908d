"""Each objective against the first one, metric by metric: paired t-tests over seeds, corrected for their number.

Models of one seed share their initial weights and their batches, so what differs between them is the objective: pairs
of one seed are compared, not two piles of models. A seed is a draw; test rows are not, and an interval here says what
other seeds would give, on these rows.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cyclip_model.reporting.resampled import Resampled
from cyclip_model.reporting.results import Cell, Key, Table

CSV_HEADER = (
    "set protocol part variant metric objective baseline seeds difference low high p p_holm rows rows_low rows_high"
).split()


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One objective's mean less the baseline's, of one metric."""

    key: Key
    objective: str
    num_seeds: int
    """That both were measured with."""
    mean: float
    low: float | None
    """End of the confidence interval of this one comparison; None where seeds do not give one."""
    high: float | None
    p: float | None
    """Two-sided, of the paired t-test; None with one seed, or where all seeds differ by the same amount."""
    p_holm: float | None = None
    """p after Holm's correction; None outside the family of tests that claims are made from."""

    def is_shown(self, confidence: float) -> bool:
        """Whether the difference remains after the correction."""
        return self.p_holm is not None and self.p_holm < 1 - confidence


def against_first(table: Table, family: Collection[Key], confidence: float) -> list[Difference]:
    """Every objective but the first against the first, by every metric that both have.

    Args:
        table: results of all models.
        family: metrics that claims are made from; only they are corrected, for the number of all tests on them.
        confidence: of the intervals, 0 to 1.
    """
    baseline, *others = table.objectives
    found = [
        one
        for key, cells in table.cells.items()
        for objective in others
        if baseline in cells and objective in cells
        if (one := paired(key, objective, cells[objective], cells[baseline], confidence)) is not None
    ]
    claimed = [one for one in found if one.key in family and one.num_seeds > 1]
    corrected = holm([1.0 if one.p is None else one.p for one in claimed])
    by_place = {(one.key, one.objective): p for one, p in zip(claimed, corrected, strict=True)}
    return [replace(one, p_holm=by_place.get((one.key, one.objective))) for one in found]


def paired(key: Key, objective: str, cell: Cell, base: Cell, confidence: float) -> Difference | None:
    """The difference over the seeds that both have; None where they share none.

    Where all seeds differ by the same amount there is a mean and no test: of shares of a few hundred rows that is a
    coincidence of the grid that they lie on, which a t-test would take for certainty.
    """
    from scipy.stats import ttest_rel

    seeds = [seed for seed in cell.by_seed if seed in base.by_seed]
    if not seeds:
        return None
    values, bases = [cell.by_seed[seed] for seed in seeds], [base.by_seed[seed] for seed in seeds]
    gaps = [value - other for value, other in zip(values, bases, strict=True)]
    shared: dict[str, Any] = {"key": key, "objective": objective, "num_seeds": len(seeds)}
    mean = sum(gaps) / len(gaps)
    if max(gaps) - min(gaps) < 1e-9:
        return Difference(**shared, mean=mean, low=None, high=None, p=None)
    test = ttest_rel(values, bases)
    low, high = test.confidence_interval(confidence)
    return Difference(**shared, mean=mean, low=float(low), high=float(high), p=float(test.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values that account for their number, in the order given (Holm 1979, step-down): no false claim among all of
    them at the level that one is compared with."""
    corrected, highest = [0.0] * len(p_values), 0.0
    for place, row in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[row]))
        corrected[row] = highest
    return corrected


def csv_rows(
    found: list[Difference], drawn: Mapping[tuple[Key, str], Resampled], baseline: str
) -> list[dict[str, Any]]:
    """The differences as rows of CSV_HEADER, eight digits; those on rows drawn anew where there are some."""
    return [
        {
            **dict(zip(CSV_HEADER, one.key, strict=False)),
            **{"objective": one.objective, "baseline": baseline, "seeds": one.num_seeds},
            **{name: _digits(getattr(one, name)) for name in ("low", "high", "p", "p_holm")},
            "difference": _digits(one.mean),
            **_drawn(drawn.get((one.key, one.objective))),
        }
        for one in found
    ]


def _drawn(one: Resampled | None) -> dict[str, Any]:
    if one is None:
        return dict.fromkeys(("rows", "rows_low", "rows_high"), "")
    return {"rows": one.num_rows, "rows_low": _digits(one.low), "rows_high": _digits(one.high)}


def _digits(number: float | None) -> str:
    return "" if number is None else f"{number:.8g}"
