"""Numbers that papers give for sets of the same name, to stand beside ours with the setting they were reached in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclip_model.reporting import families
from cyclip_model.reporting.results import Key, Table
from lineage import files

_PATH = Path(__file__).parent / "templates" / "published.json"
_ALIASES = {"imagenet1k": "imagenet", "mscoco": "coco", "mscococaptions": "coco", "stanfordcars": "cars"}


def same_set(name: str) -> str:
    """A set's name as published numbers are filed under it: CIFAR-10 and cifar10 are one."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return _ALIASES.get(plain, plain)


def beside(table: Table) -> list[dict[str, str]]:
    """Rows of the report: what was published of the table's sets, and what our models of that objective reach."""
    mine = {same_set(name): name for name in families.set_names(table)}
    found = [(_key(mine[number["set"]], number), number) for number in files.read_json(_PATH) if number["set"] in mine]
    order = {name: place for place, name in enumerate(mine.values())}
    found.sort(key=lambda one: (order[one[0][0]], one[0][1], families.place(one[0])))
    return [_row(table, key, number) for key, number in found]


def _key(name: str, number: Mapping[str, Any]) -> Key:
    return name, number["protocol"], "test", number["variant"], number["metric"]


def _row(table: Table, key: Key, number: Mapping[str, Any]) -> dict[str, str]:
    cell = table.cells.get(key, {}).get(number["objective"])
    return {
        "set": key[0],
        "metric": f"{families.heading(key[1])}, {families.words(key[3])}, {families.metric_words(key[4])}",
        "objective": number["objective"],
        "published": f"{number['value']:.1f}",
        "ours": "–" if cell is None else f"{100 * cell.mean:.1f}",
        "setting": number["setting"],
        "source": number["source"],
    }
