"""Which pairs somebody opted out: of them hashes alone may be shown, never a link, a caption or a picture."""

import dataclasses
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from lineage import records
from lineage.site import cursors
from lineage.site.holding import Holding

REASONS = ("opt_out", "opted_out", "robots_disallowed", "tdm_reserved")
"""Verdicts that somebody's word against use stands behind."""
OPTOUTS = "data/optouts.parquet"


@dataclasses.dataclass(frozen=True, slots=True)
class Withheld:
    """Digests of what is opted out; a link that is opted out in one snapshot is so in all of them."""

    urls: frozenset[str]
    hosts: frozenset[str]
    pictures: frozenset[str]

    def covers(self, url_sha256: str | None, host_sha256: str | None, sha256: str | None) -> bool:
        """Returns whether a pair is opted out."""
        return url_sha256 in self.urls or host_sha256 in self.hosts or sha256 in self.pictures


def withheld(holding: Holding, snapshots: Iterable[str]) -> Withheld:
    """Returns what the opt-outs name and what the verdicts of the snapshots drop for one."""
    named: dict[str, set[str]] = {"url_sha256": set(), "host_sha256": set(), "sha256": set()}
    if holding.has(OPTOUTS):
        table = records.read_table(holding.path(OPTOUTS), records.OPTOUTS)
        for kind, value in zip(table["kind"].to_pylist(), table["value"].to_pylist(), strict=True):
            if kind in named:
                named[kind].add(value)
    for snapshot in snapshots:
        named["url_sha256"].update(_dropped(holding, snapshot))
    return Withheld(*(frozenset(named[kind]) for kind in ("url_sha256", "host_sha256", "sha256")))


def _dropped(holding: Holding, snapshot: str) -> Iterable[str]:
    """Yields url_sha256 of the links whose pairs were dropped for an opt-out, or that a takedown has emptied."""
    names = {
        "verdicts": f"data/selection/{snapshot}/verdicts.parquet",
        "source": f"data/source/{snapshot}/source.parquet",
    }
    verdicts = cursors.Cursor(names["verdicts"], [holding.path(names["verdicts"])], ["uid", "reason"], records.VERDICTS)
    source = cursors.Cursor(
        names["source"], [holding.path(names["source"])], ["uid", "url_sha256", "url"], records.SOURCE
    )
    for bound in cursors.bounds(verdicts.num_rows):
        said, listed = verdicts.below(bound), source.below(bound)
        cursors.aligned({names["verdicts"]: said, names["source"]: listed})
        opted = pc.is_in(said["reason"], pa.array(REASONS))
        yield from listed["url_sha256"].filter(pc.or_(opted, pc.is_null(listed["url"]))).drop_null().to_pylist()
