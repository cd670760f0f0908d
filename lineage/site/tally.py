"""What is counted while the rows go by: reasons by snapshot, what each model saw, and a few rows of each reason."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

from lineage.site.rows import PLACE, WORDS, Row

NUM_SAMPLES = 6
"""Pictures shown of a reason."""
MAX_FREQUENCIES = 64
"""Different numbers of exposures that are told apart; what is above counts for the last."""
_SNAPSHOT, _UID, _WITHHELD, _REASON, _SPLIT, _SHA256, _SEEN = (
    PLACE[name] for name in ("snapshot", "uid", "withheld", "reason", "split", "sha256", "exposures")
)


@dataclasses.dataclass
class Tally:
    """Counts of all rows added."""

    snapshots: Sequence[str]
    models: Sequence[str]
    reasons: list[Counter[str]] = dataclasses.field(init=False)
    """By snapshot."""
    splits: Counter[str] = dataclasses.field(default_factory=Counter)
    frequencies: list[Counter[int]] = dataclasses.field(init=False)
    """By model: {how often: pairs}."""
    samples: dict[str, list[tuple[str, str]]] = dataclasses.field(default_factory=dict)
    """By reason: (snapshot, uid) of some rows that have a picture and are not opted out."""
    num_rows: int = 0
    num_withheld: int = 0

    def __post_init__(self) -> None:
        self.reasons = [Counter() for _ in self.snapshots]
        self.frequencies = [Counter() for _ in self.models]

    def add(self, rows: Sequence[Row]) -> None:
        """Counts some rows."""
        self.num_rows += len(rows)
        for row in rows:
            word = WORDS[row[_REASON]]
            self.reasons[row[_SNAPSHOT]][word] += 1
            self.splits[row[_SPLIT] or ""] += 1
            self.num_withheld += row[_WITHHELD]
            for number, count in enumerate(row[_SEEN] or ()):
                if count:
                    self.frequencies[number][count] += 1
            if row[_SHA256] and not row[_WITHHELD] and len(self.samples.setdefault(word, [])) < NUM_SAMPLES:
                self.samples[word].append((self.snapshots[row[_SNAPSHOT]], row[_UID]))

    def total(self) -> Counter[str]:
        """Returns the reasons of all snapshots together."""
        return sum(self.reasons, Counter())
