"""Stage select: which pairs are kept, on metadata alone; a verdict for every row of every snapshot.

A fold over snapshots, oldest first: the verdicts of S depend on S and on the rows kept in earlier snapshots, so that
select([S1]) is select([S1, S2]) restricted to S1.
"""

import dataclasses
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lineage import files, params, reasons, records, stage
from pipelines.engine import Receipt, RunnerConfig, run_grouped
from pipelines.rules import Drop, SelectConfig, judge

KEPT_BEFORE = pa.schema([("uid", pa.string()), ("sha256", pa.string()), ("snapshot", pa.string())])
JUDGED = pa.schema([*records.VERDICTS, ("sha256", pa.string())])
_NUM_SPLIT_BITS = 32


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JudgeTask:
    """One part of a snapshot's signals to judge."""

    name: str
    signals: Path
    kept_before: Path
    out: Path
    config: SelectConfig


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Deduplicate:
    """The exact deduplication of one group: candidates whose sha256 begins with the group's name."""

    snapshot: str
    kept_before: Path
    out: Path

    def __call__(self, prefix: str, parts: list[str]) -> Receipt:
        """Writes which candidates of the group go, and for whom, and returns the counts."""
        tables = [records.read_table(Path(part), JUDGED, columns=["uid", "keep", "sha256"]) for part in parts]
        candidates = _with_prefix(pa.concat_tables(tables), prefix)
        candidates = candidates.filter(candidates["keep"]).sort_by("uid")
        before = _with_prefix(records.read_table(self.kept_before, KEPT_BEFORE), prefix).to_pylist()
        winners = {row["sha256"]: (row["uid"], row["snapshot"]) for row in before}
        duplicates = find_duplicates(candidates.to_pylist(), winners, self.snapshot)
        records.write_table(records.rows_table(duplicates, records.VERDICTS), self.out / f"{prefix}.parquet")
        return {"candidates": candidates.num_rows, "duplicates": len(duplicates)}


def main(signals: Path, selection: Path, provenance: Path) -> None:
    """Judges every row of every snapshot."""
    config = params.load("select", SelectConfig)
    runner = params.load("runner", RunnerConfig)
    snapshots = params.names("snapshots")
    if not snapshots:
        raise ValueError("params.yaml: snapshots is empty; add a URL list with `python -m pipelines.snapshot add`")
    files.prune(signals, snapshots)
    settings = {"select": config, "snapshots": snapshots}
    with stage.run("select", "all", params=settings, deps=[signals], outs=[selection], provenance=provenance) as this:
        kept_before = pa.Table.from_pylist([], schema=KEPT_BEFORE)
        counts: dict[str, Counter[str]] = {}
        for snapshot in snapshots:
            verdicts = judge_snapshot(signals / snapshot, this.scratch / snapshot, kept_before, config, runner=runner)
            kept = write_selection(verdicts, this.scratch / "out" / snapshot, config.val_frac)
            kept_before = pa.concat_tables([kept_before, _kept_rows(kept, signals / snapshot, snapshot)])
            counts[snapshot] = Counter(verdicts["reason"].to_pylist())
        this.account(
            **_account(sum(counts.values(), Counter())),
            snapshots={name: _account(count) for name, count in counts.items()},
        )
        this.publish(this.scratch / "out", selection)


def judge_snapshot(
    signals: Path, scratch: Path, kept_before: pa.Table, config: SelectConfig, *, runner: RunnerConfig
) -> pa.Table:
    """Returns the verdicts of one snapshot, sorted by uid."""
    before = scratch / "kept_before.parquet"
    records.write_table(kept_before, before)
    tasks = [
        JudgeTask(name=part.stem, signals=part, kept_before=before, out=scratch / "judged", config=config)
        for part in sorted(signals.glob("*.parquet"))
    ]
    if not tasks:
        raise FileNotFoundError(f"{signals}: no signals there; `dvc repro measure@{signals.name}` makes them")
    reduce = Deduplicate(snapshot=signals.name, kept_before=before, out=scratch / "duplicates")
    (scratch / "duplicates").mkdir(exist_ok=True)
    run_grouped(f"select {signals.name}", tasks, judge_part, reduce, scratch / "receipts", runner=runner)
    judged = records.read_table(scratch / "judged", JUDGED).drop_columns(["sha256"])
    parts = sorted((scratch / "duplicates").glob("*.parquet"))
    duplicates = pa.concat_tables(
        [records.VERDICTS.empty_table(), *(records.read_table(part, records.VERDICTS) for part in parts)]
    )
    others = judged.filter(pc.invert(pc.is_in(judged["uid"], duplicates["uid"])))
    verdicts = pa.concat_tables([others, duplicates]).sort_by("uid")
    assert verdicts.num_rows == judged.num_rows
    return verdicts


def judge_part(task: JudgeTask) -> Receipt:
    """Writes the verdicts of one part before deduplication and returns the groups its candidates fall in."""
    rows = records.read_table(task.signals, records.SIGNALS)
    before = records.read_table(task.kept_before, KEPT_BEFORE)
    seen = before.filter(pc.is_in(before["uid"], rows["uid"])).to_pylist()
    seen_in = {row["uid"]: row["snapshot"] for row in seen}
    judged = [judge_row(row, seen_in.get(row["uid"]), task.config) for row in rows.to_pylist()]
    path = task.out / f"{task.name}.parquet"
    records.write_table(records.rows_table(judged, JUDGED), path)
    num_digits = len(f"{task.config.num_hash_prefixes - 1:x}")
    prefixes = sorted({row["sha256"][:num_digits] for row in judged if row["keep"]})
    return {"groups": [[prefix, path.as_posix()] for prefix in prefixes], "rows": len(judged)}


def judge_row(row: dict[str, Any], seen_in: str | None, config: SelectConfig) -> dict[str, Any]:
    """Returns the verdict on one row of the signals by what is known of it alone; duplicates are found later."""
    known = {"uid": row["uid"], "sha256": row["sha256"]}
    if seen_in is not None:
        return {**known, **_dropped("seen_before", "seen_before"), **_duplicate_of(row["uid"], seen_in)}
    if row["error"] is not None:
        rule = "download" if row["error"] in reasons.DOWNLOAD else "measure"
        return {**known, **_dropped(rule, row["error"])}
    drop = judge(row, config)
    return {**known, "keep": True, "reason": reasons.KEPT} if drop is None else {**known, **_from_drop(drop)}


def find_duplicates(
    candidates: list[dict[str, Any]], winners: dict[str, tuple[str, str]], snapshot: str
) -> list[dict[str, Any]]:
    """Returns the verdicts of the candidates that go because their bytes are kept under another uid.

    Args:
        candidates: in order of uid; the first with some bytes wins: a total order, never arrival.
        winners: sha256 -> (uid, snapshot) of the rows kept in earlier snapshots, which win always.
    """
    duplicates = []
    for row in candidates:
        uid, where = winners.setdefault(row["sha256"], (row["uid"], snapshot))
        if uid != row["uid"]:
            verdict = _dropped("exact", "duplicate_exact", value=row["sha256"])
            duplicates.append({"uid": row["uid"], **verdict, **_duplicate_of(uid, where)})
    return duplicates


def split_of(oldest_uid: str, val_frac: float) -> str:
    """Returns train or val: a pure function of the oldest uid of a duplicate group, so that it never changes."""
    digest = hashlib.sha256(f"split:{oldest_uid}".encode()).digest()
    draw = int.from_bytes(digest[: _NUM_SPLIT_BITS // 8], "big") / 2**_NUM_SPLIT_BITS
    return "val" if draw < val_frac else "train"


def write_selection(verdicts: pa.Table, out: Path, val_frac: float) -> list[str]:
    """Writes verdicts.parquet and kept.parquet of one snapshot and returns the kept uids, sorted."""
    records.write_table(verdicts, out / "verdicts.parquet")
    kept: list[str] = verdicts.filter(verdicts["keep"])["uid"].to_pylist()
    rows: list[dict[str, Any]] = [{"uid": uid, "split": split_of(uid, val_frac)} for uid in kept]
    records.write_table(records.rows_table(rows, records.KEPT), out / "kept.parquet")
    return kept


def _kept_rows(kept: list[str], signals: Path, snapshot: str) -> pa.Table:
    table = records.read_table(signals, records.SIGNALS, columns=["uid", "sha256"])
    table = table.filter(pc.is_in(table["uid"], pa.array(kept, pa.string())))
    return table.append_column("snapshot", pa.array([snapshot] * table.num_rows, pa.string()))


def _with_prefix(table: pa.Table, prefix: str) -> pa.Table:
    return table.filter(pc.fill_null(pc.starts_with(table["sha256"], prefix), False))


def _account(counts: Counter[str]) -> dict[str, Any]:
    failures = {**reasons.DOWNLOAD, **reasons.MEASURE}
    return {
        "rows_in": counts.total(),
        "kept": counts[reasons.KEPT],
        "dropped": {word: n for word, n in sorted(counts.items()) if word != reasons.KEPT and word not in failures},
        "failed": {word: n for word, n in sorted(counts.items()) if word in failures},
    }


def _from_drop(drop: Drop) -> dict[str, Any]:
    return _dropped(drop.rule, drop.reason, value=drop.value, threshold=drop.threshold)


def _dropped(rule: str, reason: str, *, value: str | None = None, threshold: str | None = None) -> dict[str, Any]:
    return {"keep": False, "reason": reason, "rule": rule, "value": value, "threshold": threshold}


def _duplicate_of(uid: str, snapshot: str) -> dict[str, str]:
    return {"duplicate_of": uid, "duplicate_of_snapshot": snapshot}


if __name__ == "__main__":
    from pipelines.select import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(main)
