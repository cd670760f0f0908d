"""Small snapshots for tests of select: signals, embeddings and the roots, and the fold over them in memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lineage import files, records
from pipelines import rules
from pipelines.selection.fold import fold
from pipelines.selection.outcome import Outcome, snapshot_of
from pipelines.selection.rows import Part, Rows, Sources
from pipelines.selection.verdicts import worded
from pipelines.selection.workers import InMemory, Workers
from tests.builders import make_signals, write_signals

Row = dict[str, Any]
WIDTH = 4
"""Of the vectors."""

EMPTY_FAILED: Row = dict.fromkeys(
    ("width", "height", "bytes", "format", "sha256", "pixel_sha256", "phash", "thumbnail", "blur", "flatness")
)


def uid(number: int) -> str:
    """Returns the uid of a number; uids sort as numbers do."""
    return f"{number:032x}"


def sha(number: int) -> str:
    """Returns a sha256 that falls in another partition for each of 16 numbers."""
    return f"{number % 16:x}{number:063x}"


def failed(number: int, error: str) -> Row:
    """Returns the signals of a row that download or measure lost."""
    return make_signals(uid(number), error=error) | EMPTY_FAILED


def grey(level: int) -> bytes:
    """Returns the thumbnail of a picture of one grey level."""
    return bytes([level]) * 192


def unit(*values: float) -> list[float]:
    """Returns a vector of length 1."""
    vector = np.zeros(WIDTH)
    vector[: len(values)] = values
    return list(vector / np.linalg.norm(vector))


def write_snapshot(
    root: Path,
    name: str,
    rows: Sequence[Row],
    *,
    vectors: Mapping[str, Sequence[float]] | None = None,
    scores: Mapping[str, float] | None = None,
    num_parts: int = 2,
) -> None:
    """Writes signals/NAME and embeddings/NAME; rows without a vector were left out by the scorer."""
    write_signals(root / "signals" / name, rows, num_parts)
    files.remove(root / "embeddings" / name)
    for path in sorted((root / "signals" / name).glob("*.parquet")):
        table = records.read_table(path, records.SIGNALS, columns=["uid", "error"])
        measured = [row["uid"] for row in table.to_pylist() if row["error"] is None]
        found = [one for one in measured if one in (vectors or {})]
        embedded = [
            {"uid": one, "clip_score": (scores or {}).get(one), "row": found.index(one) if one in found else None}
            | {"reason": None if one in found else "not_embedded"}
            for one in measured
        ]
        folder = root / "embeddings" / name
        records.write_table(records.rows_table(embedded, records.EMBEDDINGS), folder / path.name)
        made = np.array([(vectors or {})[one] for one in found], np.float16).reshape(len(found), WIDTH)
        np.save(folder / f"{path.stem}.image.npy", made)
        np.save(folder / f"{path.stem}.text.npy", made)


def write_roots(
    root: Path,
    *,
    optouts: Sequence[tuple[str, str]] = (),
    scores: Sequence[tuple[str, str, float]] = (),
    concepts: Sequence[str] = (),
) -> None:
    """Writes the three small roots."""
    table = [dict(zip(records.OPTOUTS.names, entry, strict=True)) for entry in sorted(optouts)]
    records.write_table(records.rows_table(table, records.OPTOUTS), root / "optouts.parquet")
    table = [dict(zip(records.SCORES.names, entry, strict=True)) for entry in sorted(scores)]
    records.write_table(records.rows_table(table, records.SCORES), root / "scores.parquet")
    files.write_text(root / "concepts.txt", "".join(f"{concept}\n" for concept in concepts))


def write_set(root: Path, name: str, hashes: Sequence[str], vectors: Sequence[Sequence[float]] = ()) -> None:
    """Writes the hashes and vectors of an evaluation set's pictures."""
    rows = [
        {"uid": uid(n), "part": "p", "phash": look, "thumbnail": grey(n)}
        | dict.fromkeys(("sha256", "pixel_sha256"), sha(10**6 + n))  # no pair's
        for n, look in enumerate(hashes)
    ]
    columns = ("uid", "part", "sha256", "pixel_sha256", "phash")
    schema = pa.schema([*((name, pa.string()) for name in columns), ("thumbnail", pa.binary())])
    records.write_table(pa.Table.from_pylist(rows, schema=schema), root / "benchmarks" / name / "test_hashes.parquet")
    folder = root / "test_embeddings" / name
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "image.npy", np.array(vectors, np.float16).reshape(len(vectors), WIDTH))


def sources(root: Path, *sets: str) -> Sources:
    """Returns the sources under a root."""
    return Sources(
        optouts=root / "optouts.parquet",
        scores=root / "scores.parquet",
        concepts=root / "concepts.txt",
        benchmarks=root / "benchmarks",
        test_embeddings=root / "test_embeddings",
        sets=sets,
    )


def part_rows(root: Path, rows: Sequence[Row], *sets: str, **embedded: Any) -> Rows:
    """Returns some rows as rules see them, in order of uid."""
    write_snapshot(root, "one", rows, num_parts=1, **embedded)
    part = Part(signals=root / "signals/one/00000.parquet", embeddings=root / "embeddings/one")
    return Rows(part, sources(root, *sets))


def judged(rule: Mapping[str, Any], rows: Rows) -> list[tuple[Any, str | None, str | None]]:
    """Returns (value, reason, threshold) of each row by a row rule; no reason where it is kept."""
    (step,) = rules.parse([rule])
    assert isinstance(step.rule, rules.RowRule)
    value, masks = step.rule.judge(rows)
    shown = value.to_pylist() if isinstance(value, pa.Array) else [None if np.isnan(x) else float(x) for x in value]
    grounds = [
        next((bound for bound, mask in zip(step.rule.bounds(), masks, strict=True) if mask[n]), (None, None))
        for n in range(len(rows))
    ]
    return [(one, *ground) for one, ground in zip(shown, grounds, strict=True)]


def run_fold(
    root: Path,
    listed: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    *sets: str,
    workers: Workers | None = None,
    num_partitions: int = 3,
) -> list[Outcome]:
    """Returns the outcomes of a recipe over some snapshots."""
    snapshots = [snapshot_of(root / "signals" / name, root / "embeddings" / name) for name in names]
    recipe = rules.parse(listed)
    return list(
        fold(snapshots, recipe, sources(root, *sets), workers=workers or InMemory(), num_partitions=num_partitions)
    )


def verdicts_of(outcome: Outcome, val_frac: float = 0.5) -> dict[str, Row]:
    """Returns {uid: verdict, with the split of a kept row and the values of all rules} of one snapshot."""
    found: dict[str, Row] = {}
    for some in worded(outcome, val_frac):
        split = {row["uid"]: row["split"] for row in some.kept.to_pylist()}
        for verdict, values in zip(some.verdicts.to_pylist(), some.values.to_pylist(), strict=True):
            assert verdict["uid"] == values.pop("uid")
            found[verdict["uid"]] = {**verdict, "split": split.get(verdict["uid"]), "values": values}
    assert list(found) == sorted(found)
    return found
