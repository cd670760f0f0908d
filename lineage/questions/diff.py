"""What two revisions have not in common: pairs in and out, other reasons, other bytes, metrics side by side."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lineage import files, records, trail
from lineage.cursors import Cursor
from lineage.questions import who_saw
from lineage.questions.holdings import Holdings

CHANGES = pa.schema(
    [("snapshot", pa.string()), ("uid", pa.string()), ("change", pa.string())]
    + [(f"{side}_{what}", pa.string()) for side in ("old", "new") for what in ("reason", "rule", "sha256")]
)
"""One row a pair that changed; a side where it is in no list has nulls."""
KINDS = ("listed", "unlisted", "in", "out", "reason", "bytes", "split")
"""listed, unlisted: in the lists of one revision alone, kept in neither; in, out: kept in one alone; reason: dropped
for another; bytes, split: kept in both, with other bytes or in another split."""
_PAIR, _PLACE = ["uid", "kept", "reason", "rule", "split"], ["uid", "sha256"]
_EMPTY = pa.schema([("uid", pa.string())])


def diff(old: Holdings, new: Holdings) -> Iterator[pa.Table]:
    """Yields CHANGES of each snapshot of either revision, in order of uid.

    Raises:
        NotHereError: if a trail or a manifest is not here.
    """
    for snapshot in sorted({*old.snapshots, *new.snapshots}):
        if _is_same(old, new, snapshot):
            continue
        sides = [_Side(held, snapshot) if snapshot in held.snapshots else None for held in (old, new)]
        yield from _merged(snapshot, sides[0], sides[1])


def account(changes: pa.Table) -> dict[str, Any]:
    """Returns {change: pairs} and {change: {rule, or reason without one: pairs}} of CHANGES.

    Of `in` the rule that dropped it before counts, of `out` and `reason` the one that drops it now.
    """
    by: dict[str, Counter[str]] = {}
    for row in changes.select(["change", "old_reason", "old_rule", "new_reason", "new_rule"]).to_pylist():
        side = "old" if row["change"] in ("in", "unlisted") else "new"
        ground = row[f"{side}_rule"] or row[f"{side}_reason"] or "not in a list"
        by.setdefault(row["change"], Counter())[ground] += 1
    ordered = [kind for kind in KINDS if kind in by]
    return {
        "changes": {kind: by[kind].total() for kind in ordered},
        "by_rule": {kind: dict(sorted(by[kind].items(), key=lambda item: (-item[1], item[0]))) for kind in ordered},
    }


def metrics(old: Holdings, new: Holdings) -> list[dict[str, Any]]:
    """Returns [{model, metric, old, new}] of every number that evaluation gives, null where a side has it not.

    Raises:
        NotHereError: if a file of metrics is not here.
    """
    told = []
    for model in sorted({*old.instances("results"), *new.instances("results")}):
        sides = [_numbers(held, model) for held in (old, new)]
        for name in sorted({*sides[0], *sides[1]}):
            told.append({"model": model, "metric": name, "old": sides[0].get(name), "new": sides[1].get(name)})
    return told


class _Side:
    """The pairs of a snapshot at one revision, read in order of uid."""

    def __init__(self, held: Holdings, snapshot: str) -> None:
        who_saw.check(held)
        self._pairs = Cursor(held.path(f"data/trail/{snapshot}/pairs.parquet"), trail.PAIRS, _PAIR)
        self._manifest = Cursor(held.path(f"data/shards/{snapshot}/manifest.parquet"), records.MANIFEST, _PLACE)

    def groups(self) -> Iterator[pa.Table]:
        """Yields the rows that are left with the bytes of those that are kept."""
        for group in self._pairs.groups():
            yield self._with_bytes(group, group["uid"][-1].as_py())

    def upto(self, uid: str | None) -> pa.Table:
        """Returns the next rows whose uid is not beyond `uid`."""
        return self._with_bytes(self._pairs.upto(uid), uid)

    def _with_bytes(self, pairs: pa.Table, uid: str | None) -> pa.Table:
        return pairs.join(self._manifest.upto(uid), "uid", join_type="left outer")


def _merged(snapshot: str, old: _Side | None, new: _Side | None) -> Iterator[pa.Table]:
    lead, other = (old, new) if old else (new, old)
    assert lead is not None
    for group in lead.groups():
        last = pc.max(group["uid"]).as_py()
        beside = other.upto(last) if other else group.slice(0, 0)
        yield _compared(snapshot, *((group, beside) if old else (beside, group)))
    if other:
        rest = other.upto(None)
        yield _compared(snapshot, rest.slice(0, 0), rest)


def _compared(snapshot: str, old: pa.Table, new: pa.Table) -> pa.Table:
    """Returns CHANGES of the pairs of two tables."""
    names = [name for name in old.column_names if name != "uid"]
    left = old.rename_columns(["uid" if name == "uid" else f"old_{name}" for name in old.column_names])
    right = new.rename_columns(["uid" if name == "uid" else f"new_{name}" for name in new.column_names])
    both = left.join(right, "uid", join_type="full outer").sort_by("uid")
    assert {f"old_{name}" for name in names} <= set(both.column_names)
    was, is_now = pc.fill_null(both["old_kept"], False), pc.fill_null(both["new_kept"], False)
    stays = pc.and_(was, is_now)
    cases = [
        (pc.and_(is_now, pc.invert(was)), "in"),
        (pc.and_(was, pc.invert(is_now)), "out"),
        (pc.and_(stays, _differ(both, "sha256")), "bytes"),
        (pc.and_(stays, _differ(both, "split")), "split"),
        (pc.is_null(both["old_reason"]), "listed"),
        (pc.is_null(both["new_reason"]), "unlisted"),
        (pc.or_(_differ(both, "reason"), _differ(both, "rule")), "reason"),
    ]
    change = pa.nulls(both.num_rows, pa.string())
    for condition, word in reversed(cases):
        change = pc.if_else(condition, pa.scalar(word), change)
    changed = both.append_column("change", change).filter(pc.is_valid(change))
    return changed.append_column("snapshot", pa.array([snapshot] * changed.num_rows, pa.string())).select(CHANGES.names)


def _differ(both: pa.Table, name: str) -> pa.ChunkedArray:
    old, new = pc.fill_null(both[f"old_{name}"], ""), pc.fill_null(both[f"new_{name}"], "")
    return pc.not_equal(old, new)


def _is_same(old: Holdings, new: Holdings, snapshot: str) -> bool:
    """Returns whether dvc.lock says that a snapshot's trail and shards are the same bytes at both revisions."""
    outs = (f"data/trail/{snapshot}", f"data/shards/{snapshot}")
    if None in (old.revision.commit, new.revision.commit):
        return False  # what lies in the workspace need not be what dvc.lock says
    return all(old.outs.get(out) and old.outs.get(out) == new.outs.get(out) for out in outs) and (
        snapshot in old.snapshots and snapshot in new.snapshots
    )


def _numbers(held: Holdings, model: str) -> dict[str, float]:
    name = who_saw.METRICS.format(model)
    return dict(_flat(files.read_json(held.path(name)))) if f"results/{model}" in held.outs else {}


def _flat(content: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield path, content
