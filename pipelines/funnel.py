"""The funnel: how many rows each stage left of each snapshot, and why the others went."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from pipelines import plots

STEPS = ("list", "source", "download", "measure", "embed", "select")
"""What is left after each step, from the list's rows to the kept pairs."""
_COLOURS = ("#4269d0", "#efb118", "#3ca951", "#ff725c", "#a463f2", "#97bbf5")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Funnel:
    """Accounts by snapshot and stage."""

    counts: dict[str, dict[str, dict[str, Any]]]

    def left(self, snapshot: str) -> dict[str, int]:
        """Returns how many rows of a snapshot are left after each step."""
        counts = self.counts[snapshot]
        return {"list": counts["source"]["rows_in"], **{name: counts[name]["kept"] for name in STEPS[1:]}}

    def total(self) -> dict[str, int]:
        """Returns the same over all snapshots."""
        lefts = [self.left(snapshot) for snapshot in self.counts]
        return {step: sum(left[step] for left in lefts) for step in STEPS}

    def reasons(self, kind: str) -> dict[str, int]:
        """Returns {reason: rows} over all snapshots, `dropped` or `failed`, most first.

        select accounts for what failed before it too, so source and select together cover every row.
        """
        found: Counter[str] = Counter()
        for counts in self.counts.values():
            for stage in ("source", "select"):
                found.update(counts[stage][kind])
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def as_json(self) -> dict[str, Any]:
        """Returns the funnel as plain data."""
        left = {snapshot: self.left(snapshot) for snapshot in self.counts}
        kinds = {kind: self.reasons(kind) for kind in ("dropped", "failed")}
        return {"left": left, "total": self.total(), **kinds}


def draw(funnel: Funnel, path: Path) -> None:
    """Draws the funnel as SVG: rows left by step and snapshot, below it rows lost by reason, a line each."""
    lost = len(funnel.reasons("dropped")) + len(funnel.reasons("failed"))
    heights = (0.34 * len(STEPS) + 1.0, 0.17 * max(lost, 1) + 0.6)
    with plots.page(path, 9, sum(heights)) as figure:
        upper, lower = figure.subplots(2, 1, height_ratios=heights)
        _draw_steps(upper, funnel)
        _draw_reasons(lower, funnel)


def _draw_steps(axes: Any, funnel: Funnel) -> None:
    base = [0] * len(STEPS)
    for number, snapshot in enumerate(funnel.counts):
        values = list(funnel.left(snapshot).values())
        axes.barh(STEPS, values, left=base, label=snapshot, color=_COLOURS[number % len(_COLOURS)])
        base = [start + value for start, value in zip(base, values, strict=True)]
    for step, value in enumerate(base):
        axes.text(value, step, f" {value:,}", va="center")
    axes.invert_yaxis()
    axes.set_title("rows left after each stage", loc="left")
    axes.set_xlim(0, max(base) * 1.1 + 1)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.12), ncols=6)


def _draw_reasons(axes: Any, funnel: Funnel) -> None:
    failed = funnel.reasons("failed")
    lost = {**funnel.reasons("dropped"), **failed}
    words = sorted(lost, key=lambda word: (-lost[word], word))
    colours = [plots.FAILED_COLOUR if word in failed else plots.DROPPED_COLOUR for word in words]
    axes.barh(words, [lost[word] for word in words], color=colours)
    for place, word in enumerate(words):
        axes.text(lost[word], place, f" {lost[word]:,}", va="center", fontsize=8)
    axes.tick_params("y", labelsize=8)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlim(0, max(lost.values(), default=0) * 1.1 + 1)
    axes.set_title("rows lost by reason (red: failed, grey: dropped)", loc="left")
