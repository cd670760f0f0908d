"""Models that others trained, taken into the DAG: a folder like that of a model trained here.

An entry of `objectives` whose section losses.NAME says `external:` is one, so that it is evaluated, compared and traced
as ours are; of what it has seen we know nothing, and its exposure is empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclip_model.model import external, towers
from lineage import records


@dataclass(frozen=True, kw_only=True, slots=True)
class AdoptedConfig:
    """Section losses.NAME of a model that others trained."""

    external: str
    """ARCH/TAG or ARCH/FILE of open_clip, or a folder in the hub's form."""
    sha256: str | None
    """What its weights must have, 64 hex digits; null takes what is there and records it."""

    def __post_init__(self) -> None:
        if self.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError("sha256 must be 64 hex digits in lower case, or null")


def take(name: str, sha256: str | None, keys: external.Keys, made: Path, scratch: Path) -> dict[str, Any]:
    """Writes an external model under made and returns the account: it saw none of our rows, as far as we know.

    Raises:
        ValueError: there is no such model, or its weights have another sha256.
    """
    found = external.load(name, scratch, keys, sha256)
    towers.save(found.model, made, found.model_cfg, found.preprocess_cfg, arch=found.arch)
    records.write_table(records.EXPOSURE.empty_table(), made / "exposure.parquet")
    return {"rows_in": 0, "kept": 0, "external": {"name": name, "sha256": found.sha256}}
