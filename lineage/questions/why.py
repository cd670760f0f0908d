"""The whole trail of one pair, in order: from its row in the list to how often each model was trained on it."""

import functools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lineage import files, reasons, records, trail
from lineage.cursors import open_record
from lineage.questions import rows, subjects, who_saw
from lineage.questions.holdings import Holdings, NotHereError

Step = dict[str, Any]
_SIGNALS = [name for name in records.SIGNALS.names if name not in ("uid", "thumbnail", "caption")]
_PROVENANCE = "provenance/select/all.json"
_ATTEMPTS = "attempts/{}/attempts.parquet"
_DROPPED = ("dropped by it", "not reached")
MOST_DUPLICATES = 50


def why(held: Holdings, snapshot: str, row: int) -> dict[str, Any]:
    """Returns what `why --json` says of one pair.

    Returns:
        snapshot, uid, kept, reason, meaning (of the reason, in words) and steps: list, download, attempts, signals,
        score, select, duplicates, shard, exposure, in this order. A step is {step, ...what the record says}; where
        its record is not here, {step, not_here: what to do}.

    Raises:
        NotHereError: if the pairs of the snapshot's trail are not here.
    """
    pair = rows.by_number(held.path(f"data/trail/{snapshot}/pairs.parquet"), row, trail.PAIRS.names)
    told: list[tuple[str, Callable[[], Step]]] = [
        ("list", lambda: _list(held, snapshot, pair["uid"])),
        ("download", lambda: _record(held, f"data/raw/{snapshot}/ledger.parquet", pair["uid"], records.LEDGER.names)),
        ("attempts", lambda: _attempts(held, snapshot, pair["uid"])),
        ("signals", lambda: _parts(held, f"data/signals/{snapshot}", pair["uid"], _SIGNALS)),
        ("score", lambda: _score(held, snapshot, pair["uid"])),
        ("select", lambda: _select(held, snapshot, pair["uid"])),
        ("duplicates", lambda: _duplicates(held, snapshot, pair)),
        ("shard", lambda: _shard(held, snapshot, pair)),
        ("exposure", lambda: _exposure(held, snapshot, row)),
    ]
    steps = [{"step": name, **_told(step)} for name, step in told]
    meaning = reasons.ALL.get(pair["reason"])
    head = {"snapshot": snapshot, "uid": pair["uid"], "kept": pair["kept"], "reason": pair["reason"]}
    return {**head, "meaning": meaning, "steps": steps}


def _told(step: Callable[[], Step]) -> Step:
    try:
        return step()
    except NotHereError as error:
        return {"not_here": str(error)}


def _list(held: Holdings, snapshot: str, uid: str) -> Step:
    names = [name for name in records.SOURCE.names if name != "uid"]
    found = _record(held, f"data/source/{snapshot}/source.parquet", uid, names)
    repeated = rows.by_uid([held.path(f"data/source/{snapshot}/repeats.parquet")], uid, ["repeats"])
    path = f"data/lists/{snapshot}"
    taken = {"taken_down": found.get("url") is None} if found else {}
    return {"list": path, **found, **taken, "repeats": repeated["repeats"] if repeated else 0}


def _record(held: Holdings, name: str, uid: str, columns: list[str]) -> Step:
    return rows.by_uid([held.path(name)], uid, [column for column in columns if column != "uid"]) or {}


def _parts(held: Holdings, folder: str, uid: str, columns: list[str]) -> Step:
    """Returns a row of a record in several files, whose order is that of uid."""
    names = [name for name in held.names(folder) if name.endswith(".parquet")]
    return rows.by_uid([held.path(name) for name in names], uid, columns) or {}


def _attempts(held: Holdings, snapshot: str, uid: str) -> Step:
    """Returns the facts of the web from the store of what was fetched, as it is now, whatever the revision."""
    path = _store(held.root) / _ATTEMPTS.format(snapshot)
    if not path.is_file():
        raise NotHereError(f"{path}: not there; it lies beside the checkout that fetched")
    columns = [name for name in open_record(path, ["uid"]).schema_arrow.names if name != "uid"]
    found = rows.by_uid([path], uid, columns) or {}
    return {name: _parsed(value) for name, value in found.items()}


def _score(held: Holdings, snapshot: str, uid: str) -> Step:
    found = _parts(held, f"data/embeddings/{snapshot}", uid, ["clip_score", "reason"])
    return {**found, "scorer": held.outs.get("models/scorer")} if found else {}


def _select(held: Holdings, snapshot: str, uid: str) -> Step:
    """Returns the verdict and, of every rule of the recipe in its order, the value, the threshold and the outcome."""
    folder = f"data/selection/{snapshot}"
    columns = ["reason", "rule", "value", "threshold"]
    verdict = rows.by_uid([held.path(f"{folder}/verdicts.parquet")], uid, columns) or {}
    path = held.path(f"{folder}/values.parquet")
    labels = [name for name in open_record(path, ["uid"]).schema_arrow.names if name != "uid"]
    values = rows.by_uid([path], uid, labels) or {}
    recipe = _recipe(held, labels)
    judged = list(_judged(values, recipe, verdict))
    return {**verdict, "rules": judged}


def _judged(values: Step, recipe: dict[str, Step], verdict: Step) -> Iterator[Step]:
    """Yields the rules in order; a pair that failed before select, or was seen before, is judged by none of them."""
    fatal = verdict.get("rule")
    outcome = "passed" if fatal in values or verdict.get("reason") == reasons.KEPT else "not judged"
    for label, value in values.items():
        outcome = "dropped by it" if label == fatal else "not reached" if outcome in _DROPPED else outcome
        yield {"rule": label, "value": value, "bounds": recipe.get(label), "outcome": outcome}


def _recipe(held: Holdings, labels: list[str]) -> dict[str, Step]:
    """Returns {label: the rule's numbers}, as the run that judged had them."""
    if not held.has(_PROVENANCE):
        return {}
    rules = files.read_json(held.path(_PROVENANCE))["params"]["select"]["rules"]
    named = {rule.get("as", rule["rule"]): rule for rule in rules}
    return {
        label: {key: value for key, value in named[label].items() if key != "as"} for label in labels if label in named
    }


def _duplicates(held: Holdings, snapshot: str, pair: Step) -> Step:
    """Returns the pair that stands for the group, and the others that it displaced, oldest snapshot first."""
    of, of_snapshot = pair["duplicate_of"] or pair["uid"], pair["duplicate_of_snapshot"] or snapshot
    displaced = []
    for name in held.snapshots:
        folder = f"data/trail/{name}"
        row_n = subjects.by_key(held, name, trail.DUPLICATES, of).tolist()[:MOST_DUPLICATES]
        told = rows.by_numbers(held.path(f"{folder}/pairs.parquet"), row_n, ["uid", "reason"])
        displaced += [{"snapshot": name, **row} for row in told]
    return {"kept": {"snapshot": of_snapshot, "uid": of}, "displaced": displaced} if displaced else {}


def _shard(held: Holdings, snapshot: str, pair: Step) -> Step:
    if not pair["shard"]:
        return {}
    columns = ["split", "shard", "offset", "length", "sha256", "source_sha256"]
    found = _record(held, f"data/shards/{snapshot}/manifest.parquet", pair["uid"], columns)
    return {"path": f"data/shards/{snapshot}/{pair['shard']}", "key": pair["uid"], **found}


def _exposure(held: Holdings, snapshot: str, row: int) -> Step:
    row_n = np.array([row], np.uint32)
    counts = {model: int(who_saw.times(held, model, snapshot, row_n)[0]) for model in who_saw.models(held)}
    return {"times": counts}


def _store(root: Path) -> Path:
    """Returns the store of what was fetched: CLIPLINE_STORE, or `store` at the main checkout."""
    named = os.environ.get("CLIPLINE_STORE")
    return Path(named) if named else _main_checkout(root) / "store"


@functools.cache
def _main_checkout(root: Path) -> Path:
    command = ["git", "rev-parse", "--path-format=absolute", "--git-common-dir"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()).parent if done.returncode == 0 else root


def _parsed(value: Any) -> Any:
    """Returns what a column of JSON text says; all else as it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value
