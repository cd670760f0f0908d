"""Which data sets, models and metrics a link, domain, hash, uid or picture reached, at one revision or at all."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from lineage import audit, files, records, trail
from lineage.cursors import open_record
from lineage.questions import evaluation_sets, rows, subjects
from lineage.questions.holdings import Holdings, NotHereError
from lineage.questions.subjects import Found, Subject

MOST_ROWS = 20
NEAR_BITS = 10
"""A look that is farther is another picture's."""

METRICS = "results/{}/metrics.json"

_WEIGHTS, _ROOT = "open_clip_model.safetensors", "data/dataset/root.json"


NO_TRAIL = "made without stage trail"


class NoTrailError(NotHereError):
    """A revision's DAG has no trails that could be asked."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reached:
    """The rows of a revision that are the subject, by snapshot; snapshots without one are left out."""

    subject: Subject
    held: Holdings
    found: dict[str, Found]

    @property
    def num_rows(self) -> int:
        """How many they are."""
        return sum(len(found.row_n) for found in self.found.values())


def reached(subject: Subject, held: Holdings, *, near_bits: int = NEAR_BITS) -> Reached:
    """Returns the rows of a revision that are the subject; of a picture nobody has, those that look most like it.

    Raises:
        NotHereError: if a trail is not here; NoTrailError: if the revision's DAG has none.
    """
    check(held)
    by_snapshot = {snapshot: subjects.find(subject, held, snapshot) for snapshot in held.snapshots}
    found = {snapshot: rows for snapshot, rows in by_snapshot.items() if len(rows.row_n)}
    if not found and subject.look is not None:
        near = {name: subjects.nearest(subject.look, held, name, within=near_bits) for name in held.snapshots}
        found = {snapshot: rows for snapshot, rows in near.items() if len(rows.row_n)}
    return Reached(subject, held, found)


def count(subject: Subject, held: Holdings) -> dict[str, int]:
    """Returns {snapshot: rows of a domain}, before any of them is read."""
    numbers = {name: subjects.num_below(subject.text, held, name) for name in held.snapshots}
    return {name: number for name, number in numbers.items() if number}


def check(held: Holdings) -> None:
    """Raises NoTrailError if a revision has no trails to ask."""
    for snapshot in held.snapshots:
        is_made = held.revision.commit is None and (held.root / "data/trail" / snapshot).is_dir()
        if f"data/trail/{snapshot}" not in held.outs and not is_made:
            raise NoTrailError(
                f"data/trail/{snapshot}: {held} has none; `dvc repro trail` makes it in a checkout of it"
            )


def answer(this: Reached, *, most: int = MOST_ROWS) -> dict[str, Any]:
    """Returns what `who-saw --json` says of one revision.

    Returns:
        rows: number of pairs; by: {kind of match: rows}; kept, dropped: {reason: rows}; snapshots: {name: rows};
        data_set: {root, digest} where a pair was kept, else null; sets: {evaluation set: {part: rows}} that have the
        picture, where it is asked for by its bytes; models: [{model, pairs, times, of_all, weights,
        metrics}], of those that were trained on one, `of_all` the share of all that it was trained on; pairs: [{...}]
        the first `most`, `left_out` the number of the others. A digest that is not known
        here is null: weights, data_set.root, metrics.digest.
    """
    kept, dropped, by = 0, dict[str, int](), dict[str, int]()
    for snapshot, found in this.found.items():
        by[found.by] = by.get(found.by, 0) + len(found.row_n)
        for reason, number in _reasons(this.held, snapshot, found):
            if reason == "kept":
                kept += number
            else:
                dropped[reason] = dropped.get(reason, 0) + number
    return {
        "rows": this.num_rows,
        "by": by,
        "kept": kept,
        "dropped": dict(sorted(dropped.items())),
        "snapshots": {snapshot: len(found.row_n) for snapshot, found in this.found.items()},
        "data_set": data_set(this.held) if kept else None,
        "sets": evaluation_sets.having(this.held, _pictures(this.subject)),
        "models": [told for told in (_model(this, name) for name in models(this.held)) if told],
        "pairs": list(pairs(this, most)),
        "left_out": max(0, this.num_rows - most),
    }


def _pictures(subject: Subject) -> list[str]:
    return [subject.digest] if subject.kind in ("sha256", "picture") else []


def models(held: Holdings) -> list[str]:
    """Returns the models of a revision, the scorer among them."""
    return held.instances("models")


def pairs(this: Reached, most: int) -> Iterator[dict[str, Any]]:
    """Yields the first rows: PAIRS with snapshot, row, key, {model: times}, and the distance of a look."""
    for snapshot, found in this.found.items():
        row_n = found.row_n[: max(0, most)]
        most -= len(row_n)
        told = rows.by_numbers(this.held.path(_pairs(snapshot)), row_n.tolist(), trail.PAIRS.names)
        counts = {model: times(this.held, model, snapshot, row_n) for model in models(this.held)}
        for place, pair in enumerate(told):
            seen = {model: int(count_n[place]) for model, count_n in counts.items() if count_n[place]}
            look = {} if found.distance_n is None else {"distance": int(found.distance_n[place])}
            key = {"key": pair["uid"] if pair["shard"] else None}
            yield {"snapshot": snapshot, "row": int(row_n[place]), **pair, **key, "times": seen, **look}


def times(held: Holdings, model: str, snapshot: str, row_n: npt.NDArray[np.uint32]) -> npt.NDArray[Any]:
    """Returns (n,) how often a model was trained on some rows of a snapshot."""
    found: npt.NDArray[Any] = exposure(held, model, snapshot)[row_n]
    return found


def exposure(held: Holdings, model: str, snapshot: str) -> npt.NDArray[Any]:
    """Returns (N,) how often a model was trained on each row of a snapshot, as a memory map.

    Raises:
        NotHereError: if it is not here.
        ValueError: if it is damaged, naming it.
    """
    path = held.path(f"data/audit/{audit.EXPOSURES}/{model}/{snapshot}.npy")
    try:
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):
        raise ValueError(f"{path}: damaged; `dvc repro` mends it") from None
    return found


def beyond(held: Holdings, model: str, uid: str) -> list[dict[str, Any]]:
    """Returns [{snapshot, count}] of a pair that a model saw through its parent and that is listed no more."""
    table = records.read_table(held.path(f"data/audit/{audit.EXPOSURES}/{model}/{audit.BEYOND}"), records.EXPOSURE)
    return table.filter(pc.equal(table["uid"], uid)).select(["snapshot", "count"]).to_pylist()  # type: ignore[no-any-return]


def total(held: Holdings, model: str) -> int:
    """Returns how many samples a model was trained on, of all snapshots that are listed."""
    return sum(int(exposure(held, model, snapshot).sum(dtype=np.int64)) for snapshot in held.snapshots)


def metrics(held: Holdings, model: str) -> dict[str, str | None] | None:
    """Returns {path, digest} of a model's metrics, or None where it has none: the scorer."""
    name = METRICS.format(model)
    digest = held.digest(name)
    return {"path": name, "digest": digest} if f"results/{model}" in held.outs else None


def _model(this: Reached, model: str) -> dict[str, Any] | None:
    seen, number = 0, 0
    for snapshot, found in this.found.items():
        count_n = times(this.held, model, snapshot, found.row_n)
        seen, number = seen + int(count_n.sum(dtype=np.int64)), number + int(np.count_nonzero(count_n))
    if this.subject.kind == "uid":
        for entry in beyond(this.held, model, this.subject.digest):
            seen, number = seen + entry["count"], number + 1
    if not seen:
        return None
    whole = total(this.held, model)
    return {
        "model": model,
        "pairs": number,
        "times": seen,
        "of_all": seen / whole if whole else None,
        "weights": this.held.digest(f"models/{model}/{_WEIGHTS}"),
        "metrics": metrics(this.held, model),
    }


def data_set(held: Holdings) -> dict[str, Any]:
    """Returns {root, digest} of a revision's data set: md5 of its root.json, and the digest that names it, if here."""
    digest = None
    if held.has(_ROOT):
        digest = files.read_json(held.path(_ROOT)).get("digest")
    return {"root": held.digest(_ROOT), "digest": digest}


def _reasons(held: Holdings, snapshot: str, found: Found) -> list[tuple[str, int]]:
    """Returns [(reason, rows)], `kept` one of them; only row groups that have a row are read."""
    reader = open_record(held.path(_pairs(snapshot)), ["reason"])
    counted: dict[str, int] = {}
    start, wanted = 0, np.sort(found.row_n)
    for group in range(reader.num_row_groups):
        end = start + reader.metadata.row_group(group).num_rows
        inside = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, end)]
        if len(inside):
            column = reader.read_row_group(group, ["reason"])["reason"].take(inside.astype(np.int64) - start)
            for row in pc.value_counts(column).to_pylist():
                counted[row["values"]] = counted.get(row["values"], 0) + row["counts"]
        start = end
    return list(counted.items())


def _pairs(snapshot: str) -> str:
    return f"data/trail/{snapshot}/pairs.parquet"


def everywhere(
    subject: Subject, here: Holdings, others: Sequence[Holdings] | Iterator[Holdings], *, most: int = MOST_ROWS
) -> Iterator[tuple[Holdings, dict[str, Any] | NotHereError]]:
    """Yields (revision, its answer) of one revision and of others, or why it cannot be told here.

    A revision whose trails and exposures are those of one told already is left out.
    """
    told: set[tuple[Any, ...]] = set()
    for held in (here, *others):
        key = state(held.outs)
        if key in told:
            continue
        told.add(key)
        try:
            yield held, answer(reached(subject, held), most=most)
        except NotHereError as error:
            yield held, error


def state(outs: Mapping[str, str]) -> tuple[Any, ...]:
    """Returns what an answer depends on: digests of trails, exposures, weights and metrics."""
    parts = ("data/trail/", "data/audit", "models/", "results/", "data/dataset")
    return tuple(sorted((out, digest) for out, digest in outs.items() if out.startswith(parts)))
