"""What a check found, good or not, and how many of each."""

import dataclasses
from collections import Counter
from typing import Any, Literal

State = Literal["good", "unchecked", "unattested", "broken"]
Check = Literal["bytes", "edge", "provenance", "records", "chain", "history", "imports", "rows", "rebuild"]
RESTORE = "`rm -r PATH && dvc checkout PATH`, or `dvc pull` where the cache has it not"
PULL = "`dvc pull PATH`"
RERUN = "`git log -p dvc.lock` shows who changed it; `dvc repro` makes it anew from what is here"
_SHOWN = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check; `what` is a path, a stage instance or a file of run records."""

    check: Check
    what: str
    state: State = "good"
    problem: str = ""
    remedy: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that was checked at one revision."""

    revision: str
    paths: tuple[str, ...]
    """What was asked for."""
    findings: tuple[Finding, ...]

    def of(self, *states: State) -> list[Finding]:
        """Returns the findings in these states, in order of state, then in that of the checks."""
        return [finding for state in states for finding in self.findings if finding.state == state]

    def as_json(self) -> dict[str, Any]:
        """Returns the report as plain values.

        {revision, paths, checked, not_checkable_here, unattested, broken, by_check: {check: {state: number}},
        rebuilt: [path], findings: [{check, what, state, problem, remedy}]}: `checked` counts good, unattested and
        broken ones, `rebuilt` lists shards that were asked to be packed anew, `findings` all that are not good.
        """
        counts = Counter(finding.state for finding in self.findings)
        by_check: dict[str, Counter[str]] = {}
        for finding in self.findings:
            by_check.setdefault(finding.check, Counter())[finding.state] += 1
        return {
            "revision": self.revision,
            "paths": list(self.paths),
            "checked": len(self.findings) - counts["unchecked"],
            "not_checkable_here": counts["unchecked"],
            "unattested": counts["unattested"],
            "broken": counts["broken"],
            "by_check": {check: dict(sorted(found.items())) for check, found in sorted(by_check.items())},
            "rebuilt": [finding.what for finding in self.findings if finding.check == "rebuild"],
            "findings": [dataclasses.asdict(finding) for finding in self.of("broken", "unattested", "unchecked")],
        }


def judged(check: Check, what: str, problems: list[str], remedy: str) -> Finding:
    """Returns a broken finding of some problems, the first few in words, or a good one if there are none."""
    if not problems:
        return Finding(check=check, what=what)
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return Finding(check=check, what=what, state="broken", problem="; ".join(problems[:_SHOWN]) + more, remedy=remedy)


def unchecked(check: Check, what: str, problem: str, remedy: str = PULL) -> Finding:
    """Returns what could not be checked here."""
    return Finding(check=check, what=what, state="unchecked", problem=problem, remedy=remedy.replace("PATH", what))
