"""The funnel: how many rows each stage left of each snapshot, and why the others went."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

STEPS = ("list", "source", "download", "measure", "select")
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
    """Draws the funnel as SVG: rows left by step and snapshot, rows lost by reason; no date, no random id."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context():
        mpl.rcdefaults()  # a user's matplotlibrc must not change the bytes
        mpl.rcParams.update({"svg.hashsalt": "clipline", "svg.fonttype": "none", "font.size": 9})
        figure = Figure(figsize=(11, 5.2))
        left_axes, right_axes = figure.subplots(1, 2, width_ratios=(1, 1.1))
        _draw_steps(left_axes, funnel)
        _draw_reasons(right_axes, funnel)
        for axes in (left_axes, right_axes):
            axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


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
    axes.set_xlim(0, max(base) * 1.15 + 1)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.06), ncols=4)


def _draw_reasons(axes: Any, funnel: Funnel) -> None:
    lost = {**funnel.reasons("dropped"), **funnel.reasons("failed")}
    failed = funnel.reasons("failed")
    ordered = sorted(lost.items(), key=lambda item: (-item[1], item[0]))
    words = [word for word, _ in ordered]
    colours = ["#ff725c" if word in failed else "#9498a0" for word in words]
    axes.barh(words, [number for _, number in ordered], color=colours)
    for place, (_, number) in enumerate(ordered):
        axes.text(number, place, f" {number:,}", va="center")
    axes.invert_yaxis()
    axes.set_title("rows lost by reason (red: failed, grey: dropped)", loc="left")
