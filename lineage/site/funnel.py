"""Where the rows of the URL lists went: stage by stage, reason by reason."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lineage import reasons
from lineage.site.tally import Tally

GROUPS = {
    "source": reasons.SOURCE,
    "download": reasons.DOWNLOAD,
    "measure": reasons.MEASURE,
    "embed": reasons.EMBED,
    "select": reasons.SELECT,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Loss:
    """Rows that went for one reason."""

    word: str
    meaning: str
    count: int
    frac: float
    """Of the rows that came into the stage."""


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One stage."""

    stage: str
    rows_in: int
    kept: int
    frac: float
    """Kept of all rows of the lists."""
    losses: list[Loss]


def funnel(tally: Tally, graph: Mapping[str, Any], snapshot: str | None = None) -> list[Step]:
    """Returns the steps from the lists to what was kept, of one snapshot or all together."""
    number = None if snapshot is None else list(tally.snapshots).index(snapshot)
    counted = tally.total() if number is None else tally.reasons[number]
    counted = counted + _unlisted(tally.snapshots if snapshot is None else [snapshot], graph)
    total = left = counted.total()
    steps = []
    for stage, group in GROUPS.items():
        words = sorted((word for word in group if counted[word]), key=lambda word: (-counted[word], word))
        losses = [Loss(word, group[word], counted[word], counted[word] / left) for word in words]
        rows_in, left = left, left - sum(loss.count for loss in losses)
        steps.append(Step(stage, rows_in, left, left / total if total else 0.0, losses))
    return steps


def _unlisted(snapshots: Sequence[str], graph: Mapping[str, Any]) -> Counter[str]:
    """Returns what stage source dropped: rows of the lists that are no rows of any later record."""
    found: Counter[str] = Counter()
    for snapshot in snapshots:
        counts = graph["nodes"].get(f"source@{snapshot}", {}).get("counts", {})
        for word, count in {**counts.get("dropped", {}), **counts.get("failed", {})}.items():
            if word in reasons.SOURCE:
                found[word] += int(count)
    return found
