"""The outcome of the fold put into words: tables of verdicts, values and kept rows, in order of uid.

Parts are uid ranges that do not overlap, as download makes them, so that one part at a time is in memory; parts that
do overlap are read together.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lineage import reasons, records
from pipelines.selection import digits
from pipelines.selection.outcome import FAILED, KEPT, SEEN_BEFORE, Outcome
from pipelines.selection.rows import Ints, Rows

_SPLIT_BYTES = 4
_DECIMALS = 6


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Worded:
    """Some rows of a snapshot, sorted by uid: those of one part, or of several that overlap."""

    verdicts: pa.Table
    """records.VERDICTS."""
    values: pa.Table
    """uid and a column for each label of the recipe."""
    kept: pa.Table
    """records.KEPT, of the kept rows."""
    rows: pa.Table
    """Columns of the signals that reports go by: GROUPED."""


GROUPED = ("language", "host", "tld", "caption_chars", "error")


def worded(outcome: Outcome, val_frac: float) -> Iterator[Worded]:
    """Yields the rows of a snapshot in order of uid."""
    for group in _overlapping(outcome):
        made = [_part(outcome, number, val_frac) for number in group]
        tables = {
            field.name: pa.concat_tables([getattr(one, field.name) for one in made])
            for field in dataclasses.fields(Worded)
        }
        order = pc.sort_indices(tables["verdicts"]["uid"])
        aligned = {name: tables[name].take(order) for name in ("verdicts", "values", "rows")}
        yield Worded(**aligned, kept=tables["kept"].sort_by("uid"))


def splits_of(oldest_uids: Sequence[bytes], val_frac: float) -> list[str]:
    """Returns train or val for each group: a pure function of its oldest uid, so that it never changes."""
    draws = [hashlib.sha256(b"split:" + uid).digest()[:_SPLIT_BYTES] for uid in oldest_uids]
    bound = val_frac * 256**_SPLIT_BYTES
    return ["val" if int.from_bytes(draw, "big") < bound else "train" for draw in draws]


def value_texts(values: pa.Array) -> pa.Array:
    """Returns values as texts: numbers with at most 6 decimals and without needless ones, 7 for 7.0."""
    if not pa.types.is_floating(values.type):
        return values
    return pc.add(pc.round(values, _DECIMALS), 0.0).cast(pa.string())  # no negative zero


def counted(verdicts: pa.Table) -> Counter[str]:
    """Returns how many verdicts there are of each reason."""
    return Counter({row["values"]: row["counts"] for row in pc.value_counts(verdicts["reason"]).to_pylist()})


def account(counts: Counter[str]) -> dict[str, Any]:
    """Returns where rows went, for Run.account, given how many there are of each reason."""
    failures = {**reasons.DOWNLOAD, **reasons.MEASURE}
    return {
        "rows_in": counts.total(),
        "kept": counts[reasons.KEPT],
        "dropped": {word: n for word, n in sorted(counts.items()) if word != reasons.KEPT and word not in failures},
        "failed": {word: n for word, n in sorted(counts.items()) if word in failures},
    }


def values_schema(outcome: Outcome) -> pa.Schema:
    """Returns the schema of values.parquet: uid, then float64 or string for each label of the recipe."""
    kinds = [_value_kind(outcome, place) for place in range(len(outcome.recipe))]
    return pa.schema(
        [("uid", pa.string())] + [(step.label, kind) for step, kind in zip(outcome.recipe, kinds, strict=True)]
    )


def _value_kind(outcome: Outcome, place: int) -> pa.DataType:
    return outcome.values[place].of(0, 0, 0).type if outcome.snapshot.parts else pa.float64()


def _part(outcome: Outcome, number: int, val_frac: float) -> Worded:
    rows = Rows(outcome.snapshot.parts[number], outcome.sources)
    start, stop = outcome.starts[number], outcome.starts[number + 1]
    uid = rows.text("uid")
    values = [value.of(number, start, stop) for value in outcome.values]
    labels = [step.label for step in outcome.recipe]
    return Worded(
        verdicts=_verdicts(outcome, slice(start, stop), uid, rows.text("error"), values),
        values=pa.table({"uid": uid, **dict(zip(labels, values, strict=True))}),
        kept=_kept(outcome, slice(start, stop), uid, val_frac),
        rows=pa.table({name: rows.text(name) for name in GROUPED}),
    )


def _verdicts(outcome: Outcome, here: slice, uid: pa.Array, error: pa.Array, values: list[pa.Array]) -> pa.Table:
    rule_N, code_N, duplicate_of_N = outcome.rule_N[here], outcome.code_N[here], outcome.duplicate_of_N[here]
    # one list of grounds: kept, seen before, then every bound of every rule; first[rule] is where a rule's begin
    grounds: list[tuple[str, str | None, str | None]] = [
        (reasons.KEPT, None, None),
        ("seen_before", "seen_before", None),
    ]
    first = []
    for step, bounds in zip(outcome.recipe, outcome.bounds, strict=True):
        first.append(len(grounds))
        grounds += [(reason, step.label, threshold) for reason, threshold in bounds]
    ground_N = np.where(rule_N == SEEN_BEFORE, 1, 0)
    dropped = np.flatnonzero(rule_N >= 0)
    ground_N[dropped] = np.array(first, np.int64)[rule_N[dropped]] + code_N[dropped] - 1
    words = [pa.array(column, pa.string()).take(pa.array(ground_N)) for column in zip(*grounds, strict=True)]
    failed = pa.array(rule_N == FAILED)
    stage = pc.if_else(pc.is_in(error, value_set=pa.array(list(reasons.DOWNLOAD))), "download", "measure")
    columns: dict[str, Any] = {"uid": uid, "keep": rule_N == KEPT}
    columns["reason"] = pc.if_else(failed, error, words[0])
    columns["rule"] = pc.if_else(failed, stage, words[1])
    columns["value"] = _deciding(rule_N, values)
    columns["threshold"] = words[2]
    columns |= _named(outcome, duplicate_of_N)
    return pa.table(columns, schema=records.VERDICTS)


def _deciding(rule_N: npt.NDArray[np.int16], values: list[pa.Array]) -> pa.Array:
    """Returns the value of the rule that dropped each row, as text."""
    texts = pa.nulls(len(rule_N), pa.string())
    for place, value in enumerate(values):
        mask = pa.array(rule_N == place)
        if pc.any(mask).as_py():
            texts = pc.replace_with_mask(texts, mask, value_texts(value.filter(mask)))
    return texts


def _named(outcome: Outcome, duplicate_of_N: Ints) -> dict[str, pa.Array]:
    """Returns uid and snapshot of the rows that stay instead."""
    past, there = outcome.past, np.flatnonzero(duplicate_of_N >= 0)
    ids = duplicate_of_N[there]
    place = np.full(len(duplicate_of_N), -1)
    place[there] = np.arange(len(there))
    index = pa.array(place, mask=place < 0)
    snapshot = np.searchsorted(np.array(past.starts), ids, side="right") - 1
    names = pa.array(past.names, pa.string()).take(pa.array(snapshot))
    return {
        "duplicate_of": digits.text(past.uid_N2[ids]).take(index),
        "duplicate_of_snapshot": names.take(index),
    }


def _kept(outcome: Outcome, here: slice, uid: pa.Array, val_frac: float) -> pa.Table:
    leader_N = outcome.leader_N[here]
    there = np.flatnonzero(leader_N >= 0)
    splits = splits_of(digits.spelling(outcome.past.uid_N2[leader_N[there]]).tolist(), val_frac)
    return pa.table({"uid": uid.take(pa.array(there)), "split": pa.array(splits, pa.string())}, schema=records.KEPT)


def _overlapping(outcome: Outcome) -> Iterator[list[int]]:
    """Yields the numbers of parts whose ranges of uids overlap, in order of uid."""
    group: list[int] = []
    last = -1
    for (low, high), number in sorted((span, number) for number, span in enumerate(outcome.spans)):
        if group and low > last:
            yield group
            group = []
        group.append(number)
        last = max(last, high)
    if group:
        yield group
