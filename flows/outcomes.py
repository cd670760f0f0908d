"""What came of a stage, read from dvc.lock and runs/ before and after, never from what a command printed."""

import dataclasses
import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from lineage import runs

Outcome = Literal["Reproduced", "RunCache", "Cached"]
"""A new run record; another lock entry without one: restored from DVC's run cache; neither."""
_TRIES = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What dvc.lock and runs/ hold of one stage instance."""

    entry: Mapping[str, Any] | None
    records: tuple[Mapping[str, Any], ...]

    @property
    def last(self) -> Mapping[str, Any] | None:
        """The newest run record."""
        return self.records[-1] if self.records else None


def of(name: str, root: Path) -> Trace:
    """Returns what is held of the stage instance `name`, as `train@clip-0` or `select`.

    Raises:
        ValueError: if runs/ is damaged, naming file and line.
    """
    stage, _, instance = name.partition("@")
    found = [record for record in runs.read(stage, root / runs.RUNS) if record["instance"] == (instance or "all")]
    return Trace(entry=lock(root).get(name), records=tuple(found))


def outcome(before: Trace, after: Trace) -> Outcome:
    """Returns what came of the stage in between."""
    if len(after.records) > len(before.records):
        return "Reproduced"
    return "Cached" if after.entry == before.entry else "RunCache"


def outs(entry: Mapping[str, Any] | None) -> dict[str, str]:
    """Returns {path: digest} of the outs of a stage's lock entry, {} where it has none."""
    return {out["path"]: out.get("md5", "") for out in (entry or {}).get("outs", [])}


def lock(root: Path) -> dict[str, Any]:
    """Returns the stages of dvc.lock, {} where there is none yet.

    Another DVC process may be writing it: what is taken has been read twice alike.
    """
    path, text = root / "dvc.lock", b""
    for _ in range(_TRIES):
        read = path.read_bytes() if path.exists() else b""
        if read == text:
            break
        text = read
        time.sleep(0.02)
    return _stages(text)


@functools.lru_cache(maxsize=4)
def _stages(text: bytes) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stages: dict[str, Any] = (yaml.load(text, Loader=loader) or {}).get("stages") or {}  # noqa: S506 - a safe loader
    return stages
