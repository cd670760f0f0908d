"""Which rows of evaluation sets go with pairs that are taken down: those with their pictures that no other pair has.

Stage benchmarks keeps the uid of each row's picture: by that, and not by looks, pictures are known again here.
"""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lineage import records
from lineage.questions import subjects
from lineage.questions.holdings import Holdings, NotHereError
from lineage.questions.subjects import RowArray

BENCHMARKS = "data/benchmarks"
TRAIN = "train"
_UID_CHARS = 32
"""Hex digits of a picture's sha256 that are its uid in a set, and its key in a trail."""


def losses(held: Holdings, row_n: Mapping[str, RowArray], sha256: Iterable[str]) -> dict[str, dict[str, int]]:
    """Returns {set: {part: rows that go}}; sets that lose none, or whose benchmark is not here, are left out.

    Args:
        held: the revision.
        row_n: {snapshot: rows of its trail that are named}.
        sha256: pictures that are named by their bytes, in pairs or not.
    """
    uids = _alone(held, row_n) | {value[:_UID_CHARS] for value in sha256}
    found = {
        out.rpartition("/")[2]: _of_set(held, out, pa.array(sorted(uids), pa.string())) for out in _benchmarks(held)
    }
    return {name: parts for name, parts in found.items() if parts}


def _benchmarks(held: Holdings) -> list[str]:
    return [f"{BENCHMARKS}/{name}" for name in held.instances(BENCHMARKS)]


def _alone(held: Holdings, row_n: Mapping[str, RowArray]) -> set[str]:
    """Returns the uids of pictures of named rows that no other row has."""
    named, others = set[str](), set[str]()
    for snapshot, mine in row_n.items():
        named |= subjects.digests_of(held, snapshot, "sha256", mine)
    for snapshot, mine in row_n.items():
        left = np.setdiff1d(subjects.by_keys(held, snapshot, "sha256", named), mine)
        others |= subjects.digests_of(held, snapshot, "sha256", left)
    return named - others


def _of_set(held: Holdings, out: str, uids: pa.Array) -> dict[str, int]:
    found = {}
    try:
        for path in map(PurePosixPath, held.names(out) if len(uids) else ()):
            if path.parent.name in (TRAIN, "test") and path.suffix == ".parquet":
                rows = records.read_table(held.path(str(path)), columns=["uid"])["uid"]
                found[path.stem] = pc.sum(pc.is_in(rows, value_set=uids)).as_py() or 0
    except NotHereError:
        return {}
    return {part: number for part, number in sorted(found.items()) if number}
