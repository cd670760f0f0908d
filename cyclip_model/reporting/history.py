"""What training measured of itself on the val split, as one more set of results beside the test sets.

history.csv does not say how many rows its numbers are of, nor what chance would reach: neither does a row made of it.
"""

import csv
import math
from pathlib import Path
from typing import Any

from cyclip_model.metrics.baselines import DIGITS

SET, PROTOCOL, PART, VARIANT = "val", "history", "val", "last_epoch"
PREFIX = "val_"


def last_epoch(folder: Path) -> dict[str, float]:
    """Metric -> value of the last epoch's `val_*` columns, without that prefix; of those that have a number.

    Raises:
        ValueError: a column holds something else than numbers.
    """
    path = folder / "history.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        last = list(csv.DictReader(file))[-1:]
    found = {}
    for column, text in (last[0] if last else {}).items():
        if column.startswith(PREFIX) and text:
            found[column.removeprefix(PREFIX)] = _number(text, column, path)
    return found


def epochs(folder: Path) -> list[dict[str, float]]:
    """Every line of history.csv, by column; what is empty there is left out. Empty where the model has no history."""
    path = folder / "history.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: round(_number(text, name, path), DIGITS) for name, text in row.items() if text} for row in rows]


def _number(text: str, column: str, path: Path) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{path}: {column} of an epoch is {text!r}, not a number; train the model again")
    return number


def as_sets(folder: Path) -> dict[str, Any]:
    """{set: its metrics} in the form of metrics.json; empty where the model has no history or held nothing out."""
    found = last_epoch(folder)
    levels = {"n": None, "chance": None, "majority": None, "standard_error": None}
    leaves = {name: {**levels, "value": round(value, DIGITS)} for name, value in found.items()}
    return {SET: {PROTOCOL: {PART: {VARIANT: leaves}}}} if leaves else {}
