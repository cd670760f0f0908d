"""Which rows of evaluation sets have some pictures, or go with pairs that are taken down.

Stage benchmarks keeps the uid of each row's picture: by that, and not by looks, pictures are known again here.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

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
    """Returns {set: {part: rows that go}}: those with the pictures of named pairs that no other pair has.

    Sets that lose none are left out, and those of `not_here`.

    Args:
        held: the revision.
        row_n: {snapshot: rows of its trail that are named}.
        sha256: pictures that are named by their bytes, in pairs or not.
    """
    return having(held, _alone(held, row_n) | set(sha256))


def having(held: Holdings, sha256: Iterable[str]) -> dict[str, dict[str, int]]:
    """Returns {set: {part: rows with one of some pictures}}; sets without, and those of `not_here`, are left out."""
    uids = pa.array(sorted({value[:_UID_CHARS] for value in sha256}), pa.string())
    found = {name: _of_set(held, name, uids) for name in held.instances(BENCHMARKS)} if len(uids) else {}
    return {name: parts for name, parts in found.items() if parts}


def not_here(held: Holdings) -> list[str]:
    """Returns the sets that cannot be looked into, because their benchmark is not here."""
    return [name for name in held.instances(BENCHMARKS) if _parts(held, name) is None]


def _parts(held: Holdings, name: str) -> dict[str, Path] | None:
    """Returns {part: file}, None if one of them is not here."""
    try:
        paths = map(PurePosixPath, held.names(f"{BENCHMARKS}/{name}"))
        parts = [path for path in paths if path.parent.name in (TRAIN, "test") and path.suffix == ".parquet"]
        return {path.stem: held.path(str(path)) for path in parts}
    except NotHereError:
        return None


def _alone(held: Holdings, row_n: Mapping[str, RowArray]) -> set[str]:
    """Returns the uids of pictures of named rows that no other row has."""
    named, others = set[str](), set[str]()
    for snapshot, mine in row_n.items():
        named |= subjects.digests_of(held, snapshot, "sha256", mine)
    for snapshot, mine in row_n.items():
        left = np.setdiff1d(subjects.by_keys(held, snapshot, "sha256", named), mine)
        others |= subjects.digests_of(held, snapshot, "sha256", left)
    return named - others


def _of_set(held: Holdings, name: str, uids: pa.Array) -> dict[str, int]:
    found = {}
    for part, path in sorted((_parts(held, name) or {}).items()):
        rows = records.read_table(path, columns=["uid"])["uid"]
        if number := pc.sum(pc.is_in(rows, value_set=uids)).as_py():
            found[part] = number
    return found
