"""Stage benchmarks: an evaluation set checked and decoded once, train and test apart, with hashes of the test parts."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cyclip_model.sets import entry, laying
from cyclip_model.sets.layout import KNOWN, NOVEL, PARTS, ROWS, SET_ROWS, TRAIN
from cyclip_model.sets.pictures import HASHES as HASHES
from cyclip_model.sets.pictures import Row, examine
from cyclip_model.sets.pictures import UndecodableError as UndecodableError
from cyclip_model.sets.pictures import decode as decode
from lineage import files, params, records, stage

logger = logging.getLogger("clipline")

OPTED_OUT = "opted_out.parquet"
"""The file in a set that counts the rows a takedown took out of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarksConfig:
    """Section benchmarks."""

    max_pixels: int
    """Pictures that declare more are not decoded."""

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError("max_pixels must be at least 1")


def read_part(path: Path) -> list[Row]:
    """The rows of a part, sorted by uid, then name, then vendor.

    Raises:
        ValueError: a column is missing, a required field is empty, or a uid is not its picture's; names file and row.
    """
    rows: list[Row] = records.read_table(path, SET_ROWS).to_pylist()
    for number, row in enumerate(rows):
        for field in ("uid", "image", "concept", "name", "caption"):
            if not row[field]:
                raise ValueError(f"{path}: row {number}: {field} is empty")
        if hashlib.sha256(row["image"]).hexdigest()[:32] != row["uid"]:
            raise ValueError(f"{path}: row {number}: uid {row['uid']} is not the sha256 of its picture")
        row.update({field: row[field] or "" for field in ("vendor", "subcategory", "category")})
    return sorted(rows, key=lambda row: (row["uid"], row["name"], row["vendor"]))


def num_opted_out(source: Path) -> int:
    """How many rows takedowns took out of a set.

    Raises:
        ValueError: the file is damaged; names it.
    """
    path = source / OPTED_OUT
    return sum(records.read_table(path, records.OPTED_OUT_OF_SET)["rows"].to_pylist()) if path.is_file() else 0


def check_split(parts: dict[str, list[Row]]) -> None:
    """Raises ValueError when a held-out concept is also drawn in a part of known concepts."""
    known = {row["concept"] for part in (TRAIN, *KNOWN) for row in parts[part]}
    for part in NOVEL:
        leaked = sorted({row["concept"] for row in parts[part]} & known)
        if leaked:
            raise ValueError(f"part {part}: concept {leaked[0]!r} is held out and known at once ({len(leaked)} such)")


def classes(parts: dict[str, list[Row]]) -> dict[str, Any]:
    """The class lists of the set: names of known concepts, subcategories and categories with their train names.

    Raises:
        ValueError: a subcategory lies in two categories.
    """
    classified = [row for row in parts[TRAIN] if row["subcategory"] and row["category"]]
    parent: dict[str, str] = {}
    for row in classified:
        if parent.setdefault(row["subcategory"], row["category"]) != row["category"]:
            raise ValueError(f"subcategory {row['subcategory']!r} lies in two categories: one must hold all of it")
    subcategories = {
        name: {"category": parent[name], "names": _names(classified, "subcategory", name)} for name in sorted(parent)
    }
    categories = {name: {"names": _names(classified, "category", name)} for name in sorted(set(parent.values()))}
    names = sorted({row["name"] for part in (TRAIN, *KNOWN) for row in parts[part]})
    return {"names": names, "subcategories": subcategories, "categories": categories}


def _names(rows: list[Row], field: str, value: str) -> list[str]:
    return sorted({row["name"] for row in rows if row[field] == value})


def twins(hashes: dict[str, list[Row]]) -> dict[str, int]:
    """For each test part, how many of its pictures have the very pixels of a train picture under whatever name."""
    train = {row["pixel_sha256"] for row in hashes[TRAIN]}
    return {part: sum(row["pixel_sha256"] in train for row in hashes[part]) for part in (*KNOWN, *NOVEL)}


def build(
    source: Path, out: Path, config: BenchmarksConfig
) -> tuple[dict[str, list[Row]], dict[str, int], dict[str, int]]:
    """Writes the benchmark under out; returns the rows kept, rows failed by reason, and the twins."""
    described = describe(source)
    failed: Counter[str] = Counter()
    kept: dict[str, list[Row]] = {}
    hashes: dict[str, list[Row]] = {}
    for part in PARTS:
        rows = stage.progress(read_part(source / f"{part}.parquet"), label=part)
        kept[part], hashes[part] = _examine_all(rows, config.max_pixels, failed)
        if not kept[part]:
            raise ValueError(f"{source / part}.parquet: no picture that can be used")
    check_split(kept)
    counts = {part: len(rows) for part, rows in kept.items()}
    files.write_json(out / "classes.json", {**described, **classes(kept), "parts": counts})
    for part in PARTS:
        folder = out / (TRAIN if part == TRAIN else "test")
        records.write_table(pa.Table.from_pylist(kept[part], schema=ROWS), folder / f"{part}.parquet")
    tests = [{**row, "part": part} for part in (*KNOWN, *NOVEL) for row in hashes[part]]
    records.write_table(records.rows_table(tests, HASHES), out / "test_hashes.parquet")
    return kept, dict(failed), twins(hashes)


def _examine_all(rows: Iterable[Row], max_pixels: int, failed: Counter[str]) -> tuple[list[Row], list[Row]]:
    good = []
    for row in rows:
        try:
            good.append(examine(row, max_pixels))
        except UndecodableError as error:
            failed[str(error)] += 1
    return [row for row, _ in good], [hashes for _, hashes in good]


def describe(source: Path) -> dict[str, Any]:
    """Name, prompt templates and sources of a set, from its set.json.

    Raises:
        ValueError: a key is missing, a template has no {}, or the name is not that of the folder.
    """
    path = source / "set.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `python -m pipelines.demo` lays the demo's set down")
    content = files.read_json(path)
    for key in ("name", "templates", "sources"):
        if key not in content:
            raise ValueError(f"{path}: {key} is missing")
    if params.check_name(content["name"], f"{path}: name") != source.name:
        raise ValueError(f"{path}: name is {content['name']!r}, but the folder is {source.name!r}")
    if not content["templates"] or not all(template.count("{}") == 1 for template in content["templates"]):
        raise ValueError(f"{path}: templates must be a list of texts with one {{}} each")
    return {key: content[key] for key in ("name", "templates", "sources")}


def main(source: Path, out: Path, provenance: Path, optouts: Path | None = None) -> None:
    """Checks and decodes the set in SOURCE and writes the benchmark to OUT.

    Pictures that OPTOUTS names by their sha256 are left out of a set of a family; a takedown takes them out of the
    suite's own parts.
    """
    config = params.load("benchmarks", BenchmarksConfig)
    if entry.has_family(source):
        lay(source, out, provenance, config, optouts)
        return
    name, deps = describe(source)["name"], _deps(source, optouts)
    with stage.run("benchmarks", name, params=config, deps=deps, outs=[out], provenance=provenance) as this:
        made = this.scratch / "out"
        kept, failed, same_pixels = build(source, made, config)
        num_kept = sum(map(len, kept.values()))
        parts = {part: len(rows) for part, rows in kept.items()}
        facts = {"parts": parts, "pixels_of_a_train_picture": same_pixels}
        dropped = {"opt_out": num_opted_out(source)}
        rows_in = num_kept + sum(failed.values()) + sum(dropped.values())
        this.account(rows_in=rows_in, kept=num_kept, dropped=dropped, failed=failed, **facts)
        this.publish(made, out)


def _deps(source: Path, optouts: Path | None) -> list[Path]:
    return [source] if optouts is None else [source, optouts]


def opted_out(optouts: Path | None) -> frozenset[str]:
    """The sha256 of pictures that opt-outs name."""
    rows = records.read_table(optouts, records.OPTOUTS).to_pylist() if optouts else []
    return frozenset(row["value"] for row in rows if row["kind"] == "sha256")


def lay(source: Path, out: Path, provenance: Path, config: BenchmarksConfig, optouts: Path | None) -> None:
    """The stage for a set of a family; one that is absent is written down as absent, with a warning."""
    asked = laying.entry_of(source)
    deps = _deps(source, optouts)
    with stage.run("benchmarks", asked.name, params=config, deps=deps, outs=[out], provenance=provenance) as this:
        made = this.scratch / "out"
        files.remove(made)  # what a killed run left of it
        laid = laying.lay(asked, made, config.max_pixels, opted_out(optouts))
        if laid.absent:
            logger.warning("%s is absent: %s; %s", asked.name, laid.absent["why"], laid.absent["how"])
        kept = sum(laid.parts.values())
        facts: dict[str, Any] = {
            "parts": laid.parts,
            "pixels_of_a_train_picture": laid.twins,
            "is_absent": laid.absent is not None,
        }
        rows_in = kept + laid.dropped.total() + laid.failed.total()
        this.account(rows_in=rows_in, kept=kept, dropped=laid.dropped, failed=laid.failed, **facts)
        this.publish(made, out)


if __name__ == "__main__":
    from cyclip_model.benchmarks import main  # not __main__.main: what pickles needs an importable name

    stage.command(main)
