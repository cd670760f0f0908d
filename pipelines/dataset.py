"""Stage dataset: the data set of all snapshots, named by one digest, with its datasheet, card and funnel.

data/dataset holds root.json (content only: what training depends on), datasheet.md, croissant.json, exclusion.md, and
as figures and drawings the funnel (funnel.json, .svg) and the spread of the rules' values (spreads.json, .svg).
"""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

from lineage import digests, files, params, records, stage
from pipelines import cards, funnel, plots
from pipelines.funnel import Funnel
from pipelines.selection import exclusion

COUNTED = ("source", "download", "measure", "embed", "select", "pack")
"""The stages whose accounts make the funnel."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DatasetConfig:
    """Section `dataset` of params.yaml."""

    name: str
    """Name of the data set on its cards."""
    description: str
    """One sentence on it."""


def main(shards: Path, selection: Path, provenance_root: Path, dataset: Path, provenance: Path) -> None:
    """Names and describes the data set."""
    config = params.load("dataset", DatasetConfig)
    snapshots = params.names("snapshots")
    prune(shards, selection, provenance_root, snapshots)
    deps = [shards, selection, *(provenance_root / name for name in COUNTED)]
    settings = {"dataset": config, "snapshots": snapshots}
    with stage.run("dataset", "all", params=settings, deps=deps, outs=[dataset], provenance=provenance) as this:
        root = root_of(shards, snapshots)
        accounts = read_funnel(provenance_root, snapshots)
        check(root, accounts)
        describe(config, root, accounts, this.scratch / "out")
        describe_selection(selection, snapshots, this.scratch / "out")
        total = accounts.total()
        this.account(
            rows_in=total["list"],
            kept=sum(root["rows"].values()),
            dropped=accounts.reasons("dropped"),
            failed=accounts.reasons("failed"),
            digest=root["digest"],
        )
        this.publish(this.scratch / "out", dataset)


def describe(config: DatasetConfig, root: dict[str, Any], accounts: Funnel, out: Path) -> None:
    """Writes root.json, the cards and the funnel into `out`."""
    files.write_json(out / "root.json", root)
    files.write_text(out / "datasheet.md", cards.datasheet(config.name, config.description, root, accounts))
    licences = sorted({licence for licence, _ in cards.licences(accounts)})
    files.write_json(out / "croissant.json", cards.croissant(config.name, config.description, root, licences))
    files.write_json(out / "funnel.json", accounts.as_json())
    funnel.draw(accounts, out / "funnel.svg")


def describe_selection(selection: Path, snapshots: list[str], out: Path) -> None:
    """Writes into `out` how the values of the rules are spread and whom the rules fall on."""
    spreads = plots.spreads(selection, snapshots)
    files.write_json(out / "spreads.json", [dataclasses.asdict(one) for one in spreads])
    plots.draw(spreads, out / "spreads.svg")
    reports = {snapshot: files.read_json(selection / snapshot / "exclusion.json") for snapshot in snapshots}
    files.write_text(out / "exclusion.md", f"# Whom the rules fall on\n\n{exclusion.markdown(reports)}")


def prune(shards: Path, selection: Path, provenance_root: Path, snapshots: list[str]) -> None:
    """Removes what snapshots that are no longer listed left in the workspace."""
    for folder in (shards, selection, *(provenance_root / name for name in COUNTED if name != "select")):
        stage.prune(folder, snapshots)


def root_of(shards: Path, snapshots: list[str]) -> dict[str, Any]:
    """Returns the content of root.json: every shard with its digest, and one digest over them.

    Raises:
        ValueError: if a manifest and the shards beside it do not agree, naming the snapshot.
    """
    folders = stage.progress([shards / snapshot for snapshot in snapshots], label="dataset")
    listed = [entry for folder in folders for entry in shard_entries(folder)]
    rows: Counter[str] = Counter({"train": 0, "val": 0})
    for entry in listed:
        rows[entry["split"]] += entry["rows"]
    return {"digest": digests.content_digest(listed), "rows": dict(rows), "shards": listed, "snapshots": snapshots}


def shard_entries(folder: Path) -> list[dict[str, Any]]:
    """Returns one entry for each shard of a snapshot, sorted."""
    manifest = records.read_table(folder / "manifest.parquet", records.MANIFEST)
    rows = Counter(manifest["shard"].to_pylist())
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.tar"))
    if found != sorted(rows):
        raise ValueError(f"{folder}: manifest.parquet lists {len(rows)} shards, {len(found)} are there; repack it")
    return [
        {
            "snapshot": folder.name,
            "split": shard.split("/")[0],
            "shard": shard,
            "rows": rows[shard],
            "bytes": (folder / shard).stat().st_size,
            "sha256": digests.sha256_file(folder / shard),
        }
        for shard in found
    ]


def read_funnel(provenance_root: Path, snapshots: list[str]) -> Funnel:
    """Returns the accounts of every stage by snapshot."""
    selected = files.read_json(provenance_root / "select" / "all.json")["counts"]["snapshots"]
    missing = [snapshot for snapshot in snapshots if snapshot not in selected]
    if missing:
        raise ValueError(f"{provenance_root}/select/all.json: has no snapshot {missing[0]}; run `dvc repro select`")
    counts = {
        snapshot: {
            name: selected[snapshot]
            if name == "select"
            else files.read_json(provenance_root / name / f"{snapshot}.json")["counts"]
            for name in COUNTED
        }
        for snapshot in snapshots
    }
    return Funnel(counts=counts)


def check(root: dict[str, Any], accounts: Funnel) -> None:
    """Checks that the stages' accounts join: what one kept is what the next took in.

    Raises:
        ValueError: naming snapshot, stages and counts.
    """
    for snapshot, counts in accounts.counts.items():
        # measure and select account for every row of the ledger, failed ones too
        joins = [
            ("source", "kept", "download"),
            ("download", "rows_in", "measure"),
            ("measure", "kept", "embed"),
            ("measure", "rows_in", "select"),
            ("select", "kept", "pack"),
        ]
        for before, what, after in joins:
            left, there = counts[before][what], counts[after]["rows_in"]
            if left != there:
                raise ValueError(f"snapshot {snapshot}: {before} has {left} rows ({what}), {after} took in {there}")
        packed = counts["pack"]["kept"]
        held = sum(entry["rows"] for entry in root["shards"] if entry["snapshot"] == snapshot)
        if packed != held:
            raise ValueError(f"snapshot {snapshot}: the shards hold {held} rows, pack accounted for {packed}")


if __name__ == "__main__":
    from pipelines.dataset import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(main)
