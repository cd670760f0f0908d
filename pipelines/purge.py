"""What was opted out, taken out of what keeps it in the clear: evaluation sets, URL lists and the store.

    python -m pipelines.purge sets
    python -m pipelines.purge lists
    python -m pipelines.purge store

`sets` takes the pictures of what data/optouts.parquet names out of the evaluation sets, as long as data/raw has them to
compare with. `lists` takes the rows that it names out of every snapshot's list and keeps their hashes beside it. Both
give what they changed to DVC; `dvc repro` then makes tombstones. `store`, after that, takes out of the store what was
fetched for rows that are tombstones. Flow takedown runs all three. Each may be killed at any point and run again.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import typer

from lineage import params, records, stage
from pipelines import impact, roots, sets_purge
from pipelines.lists import purge as list_purge
from pipelines.lists import tombstones
from pipelines.lists.descriptions import DESCRIPTION
from pipelines.lists.purge import OptedOut
from pipelines.snapshot import LISTS
from pipelines.source import SourceConfig
from pipelines.web import purge as store_purge
from pipelines.web import store as stores

logger = logging.getLogger("clipline")

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def sets() -> None:
    """Takes the pictures of what is opted out out of the evaluation sets; `dvc repro` goes on from there."""
    with stage.user_errors(), roots.alone():
        sets_purge.purge()


@app.command()
def lists() -> None:
    """Takes what is opted out out of the URL lists; `dvc repro` goes on from there."""
    with stage.user_errors(), roots.alone():
        purge_lists()


@app.command()
def store() -> None:
    """Takes out of the store what was fetched for rows that are tombstones."""
    with stage.user_errors():
        purge_store(stores.root())


def purge_lists() -> None:
    """Takes the rows that data/optouts.parquet names out of the list of every snapshot and gives it to DVC.

    Raises:
        ValueError: if a list or the signals of a snapshot are not in the workspace, or a list is damaged or changed.
    """
    named = impact.touched(Path(), roots.OPTOUTS)
    max_url_chars = params.load("source", SourceConfig).max_url_chars
    for snapshot in params.names("snapshots"):
        folder = LISTS / snapshot
        if not roots.is_ours(folder, DESCRIPTION):
            logger.warning("%s: the list of %s cannot be purged from here: it lies elsewhere", folder, snapshot)
            continue
        uids = named.filter(pc.equal(named["snapshot"], snapshot))["uid"].to_pylist()
        opted_out = opted_out_of(roots.OPTOUTS, uids)
        with roots.changing(folder):
            gone = list_purge.purge(folder, opted_out, max_url_chars, stage.WORK / f"purge-{snapshot}")
        if gone.files:
            logger.info("%s: %d rows taken down, and %d rejects", folder, gone.pairs, gone.rejects)


def purge_new_list(folder: Path) -> None:
    """Takes out of a list that is no snapshot yet what is opted out by URL or host, and pairs taken down before.

    Raises:
        ValueError: as lists.purge.
    """
    if not roots.OPTOUTS.is_file():
        return
    opted_out = opted_out_of(roots.OPTOUTS, _tombstone_uids())
    if not (opted_out.uids or opted_out.url_sha256 or opted_out.host_sha256):
        return
    max_url_chars = params.load("source", SourceConfig).max_url_chars
    gone = list_purge.purge(folder, opted_out, max_url_chars, stage.WORK / f"purge-{folder.name}")
    if gone.files:
        logger.info("%d rows of the list are left out: they are opted out", gone.pairs + gone.rejects)


def purge_store(root: Path) -> None:
    """Takes out of the store what was fetched for tombstones, and for opted-out rows that no list has any more.

    A row that is to be downloaded keeps its record, or it would be fetched again.
    """
    if not (root.is_dir() and roots.OPTOUTS.is_file()):
        return
    opted_out = opted_out_of(roots.OPTOUTS, _tombstone_uids())
    pictures = _values(roots.OPTOUTS, "sha256")
    found = store_purge.named(root / "fetch", lambda _, line: _is_named(line, opted_out, pictures))
    gone = {snapshot: _not_listed(snapshot, uids) for snapshot, uids in found.items() if uids}
    for snapshot, uids in gone.items():
        store_purge.purge_attempts(root / "attempts" / snapshot / "attempts.parquet", uids)
    done = store_purge.purge(root / "fetch", lambda snapshot, line: line.get("uid") in gone.get(snapshot, ()))
    said = store_purge.purge(root / "consent", lambda _, line: _is_of_host(line, opted_out), keep_numbers=True)
    logger.info("%s: %d records and %d bodies taken out, and %d of what hosts say", root, *done, said.lines)


def opted_out_of(path: Path, uids: Iterator[str] | list[str]) -> OptedOut:
    """Returns what a table of opt-outs, and some uids, say is to go."""
    kinds = {kind: _values(path, kind) for kind in ("url_sha256", "host_sha256")}
    return OptedOut(uids=frozenset(uids), **kinds)


def _values(path: Path, kind: str) -> frozenset[str]:
    table = records.read_table(path, records.OPTOUTS)
    return frozenset(table.filter(pc.equal(table["kind"], kind))["value"].to_pylist())


def _tombstone_uids() -> list[str]:
    folders = [LISTS / snapshot for snapshot in params.names("snapshots")]
    return [uid for folder in folders for uid in tombstones.read(folder)["uid"].to_pylist()]


def _is_named(line: dict[str, Any], opted_out: OptedOut, pictures: frozenset[str]) -> bool:
    is_uid = line.get("uid") in opted_out.uids
    return is_uid or line.get("sha256") in pictures or opted_out.names_url(line.get("url"))


def _is_of_host(line: dict[str, Any], opted_out: OptedOut) -> bool:
    return opted_out.names_host(urlsplit(str(line.get("origin"))).hostname or "")


def _not_listed(snapshot: str, uids: set[str]) -> set[str]:
    """Returns those of some uids that the snapshot does not, or no longer, ask for."""
    if snapshot not in params.names("snapshots"):
        return uids
    try:
        rows = records.read_table(Path("data/source") / snapshot / "source.parquet", columns=["uid", "url"])
    except (FileNotFoundError, ValueError) as error:
        logger.warning("%s: nothing of it is taken out of the store: %s", snapshot, error)
        return set()
    asked = rows.filter(pc.and_(pc.is_valid(rows["url"]), pc.is_in(rows["uid"], pa.array(sorted(uids), pa.string()))))
    if asked.num_rows:
        logger.warning("%s: %d opted-out rows stand in its list still and keep their records", snapshot, asked.num_rows)
    return uids - set(asked["uid"].to_pylist())


def main() -> None:
    """Runs the command line."""
    stage.log_to_stderr()
    app()


if __name__ == "__main__":
    main()
