"""Stage download: the pictures of a snapshot, by img2dataset through the gateway, in a canonical form.

data/raw/S holds ledger.parquet, one row per source row, and NNNNN.tar with UID.EXT, UID.json and UID.txt of every
row that came, in order of uid. What was fetched once is answered from the store: the stage never fetches it again.
With --replay it fetches nothing at all: what the store has no record of fails as `not_stored`. What was taken down has
no URL to be asked for and fails as `opt_out`.
"""

import contextlib
import errno
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lineage import params, reasons, records, stage
from pipelines import raw_shards, tar
from pipelines.engine import RunnerConfig
from pipelines.web import collection, drift, store
from pipelines.web.addresses import AddressPolicy, parse_networks
from pipelines.web.demo_site import DemoSite
from pipelines.web.download_config import DownloadConfig
from pipelines.web.downloader import MadeShard, Place, discard
from pipelines.web.gateway import Gateway
from pipelines.web.source_table import SourceTable
from pipelines.web.store import FetchStore

logger = logging.getLogger("clipline")

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(
    source: Path,
    raw: Path,
    provenance: Path,
    *,
    replay: Annotated[bool, typer.Option("--replay", help="Build from the store alone; fetch nothing.")] = False,
) -> None:
    """Downloads the pictures of one snapshot."""
    config = params.load("download", DownloadConfig)
    runner = params.load("runner", RunnerConfig)
    earlier = snapshots_before(raw.name, params.names("snapshots"))
    with stage.run("download", raw.name, params=config, deps=[source], outs=[raw], provenance=provenance) as this:
        table = SourceTable(source / "source.parquet", config.rows_per_shard)
        fetched = FetchStore(store.root(), raw.name, earlier=earlier, replay=replay)
        with explain_full_disks(this.scratch), contextlib.closing(fetched):
            places: Mapping[int, Place] = {}
            if not replay:
                check_earlier(fetched.root, earlier)
            for name in earlier:
                fetched.copy_from(name, iter(table))
            if not replay:
                places = fetch_missing(table, fetched, this, config=config, runner=runner)
                fetched.mark_complete(iter(table))
            made, counts = write_shards(table, fetched, places, this, policy=config.drift())
        if len(table) and not counts[reasons.KEPT]:
            logger.warning("warning: download@%s: not one of %d pictures came", raw.name, len(table))
        this.account(rows_in=table.num_rows, kept=counts.pop(reasons.KEPT, 0), failed=counts)
        this.publish(made, raw)


def snapshots_before(snapshot: str, snapshots: list[str]) -> list[str]:
    """Returns the snapshots listed before `snapshot`, the nearest first.

    Raises:
        ValueError: if it is not listed at all.
    """
    if snapshot not in snapshots:
        raise ValueError(f"snapshot {snapshot!r} is not listed in params.yaml: snapshots")
    return snapshots[: snapshots.index(snapshot)][::-1]


def check_earlier(root: Path, earlier: list[str]) -> None:
    """Does nothing where earlier snapshots have their records: what came well then is copied from them.

    Raises:
        ValueError: if one has no complete record set yet: the bytes would depend on the order of runs.
    """
    for name in reversed(earlier):
        if not store.is_complete(root, name):
            raise ValueError(
                f"{root}: no complete records of snapshot {name}, which is listed before; bring the store from where "
                f"it ran (CLIPLINE_STORE), or fetch anew with `dvc repro --force --single-item download@{name}`"
            )


def fetch_missing(
    table: SourceTable, fetched: FetchStore, this: stage.Run, *, config: DownloadConfig, runner: RunnerConfig
) -> dict[int, Place]:
    """Gives every uid its record, by img2dataset through the gateway, and returns where img2dataset's shards lie."""
    fetched.expect(iter(table))
    pending = collection.pending_shards(table, fetched)
    num_fetched, places = 0, {}
    if pending:
        with demo_sites(config.demo_site, this.instance) as sites:
            with Gateway(
                table,
                fetched,
                policy=AddressPolicy(allowed=parse_networks(config.allow_addresses)),
                limits=config.limits(),
                user_agent=config.user_agent,
                sites=sites,
                num_connections=runner.download_processes * runner.download_threads,
            ) as gateway:
                places = collection.collect(
                    table, fetched, gateway, this.scratch / "img2dataset", stall_s=config.stall_s, runner=runner
                )
                num_fetched = gateway.num_fetched
    logger.info("download@%s: %d URLs asked of the web, the rest answered from the store", this.instance, num_fetched)
    return places


def write_shards(
    table: SourceTable, fetched: FetchStore, places: Mapping[int, Place], this: stage.Run, *, policy: drift.DriftPolicy
) -> tuple[Path, Counter[str]]:
    """Writes the raw shards that have no receipt yet, and the ledger; returns their folder and the rows by outcome.

    The receipt of a shard is its part of the ledger. Shards and receipts lie in the scratch in folders named by what
    the store says: a replay, or a row fetched anew, never meets what an earlier run made of other records.
    """
    state = state_of(table, fetched)
    out, receipts = this.scratch / f"raw-{state}", this.scratch / "receipts" / state
    out.mkdir(exist_ok=True)
    parts = [receipts / f"{shard:05d}.parquet" for shard in range(table.num_shards)]
    counts: Counter[str] = Counter()
    for shard, part in enumerate(stage.progress(parts, label=f"shards {this.instance}", total=len(parts))):
        if not part.exists():
            path = out / tar.shard_name(shard)
            rows = write_shard(path, shard, table.pairs(shard), fetched, place=places.get(shard), policy=policy)
            records.write_table(records.rows_table(rows, records.LEDGER), part)
            if shard in places:
                discard(places[shard])
        found = records.read_table(part, records.LEDGER, ["reason"])["reason"].to_pylist()
        counts.update(reason or reasons.KEPT for reason in found)
    raw_shards.write_ledger(parts, out / "ledger.parquet")
    return out, counts


def state_of(table: SourceTable, fetched: FetchStore) -> str:
    """Returns a digest of what became of each row by the store's records."""
    digest = hashlib.sha256()
    for uid in table:
        facts = fetched.known(uid)[:2] if uid in fetched else "not stored"
        digest.update(f"{uid} {facts}\n".encode())
    return digest.hexdigest()[:16]


def write_shard(
    path: Path,
    shard: int,
    pairs: list[dict[str, Any]],
    fetched: FetchStore,
    *,
    place: Place | None,
    policy: drift.DriftPolicy,
) -> list[dict[str, Any]]:
    """Writes one raw shard by a rename and returns its ledger rows.

    The bytes are those img2dataset brought where they are what the store recorded, and the store's own otherwise:
    img2dataset exits with 0 where shards failed, loses rows that raise, and may have been killed.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    lost: set[str] = set()
    with MadeShard(place) as made, partial.open("wb") as file:

        def read(uid: str) -> bytes:
            content = made.read(uid, str(fetched.known(uid).sha256))
            if content is None and place is not None:
                lost.add(uid)
            return content or fetched.body(uid)

        judged = ((pair, ledger_row(pair, shard, fetched, read=read, policy=policy)) for pair in pairs)
        rows = raw_shards.write_raw_shard(file, judged, read)
    os.replace(partial, path)
    if lost:
        logger.warning("%s: img2dataset lost %d pictures; they were taken from the store", path.name, len(lost))
    return rows


def ledger_row(
    pair: Mapping[str, Any],
    shard: int,
    fetched: FetchStore,
    *,
    read: Callable[[str], bytes],
    policy: drift.DriftPolicy,
) -> dict[str, Any]:
    """Returns what became of a row, but for its place in the shard; of one taken down the store is not asked."""
    uid = pair["uid"]
    failed = {"uid": uid, "shard": shard, "outcome": "failed"}
    if pair["url"] is None:
        return {**failed, "reason": "opt_out"}
    if uid not in fetched:  # in a replay only
        return {**failed, "reason": "not_stored"}
    known = fetched.known(uid)
    if known.reason is not None:
        return {**failed, "reason": reasons.check(known.reason)}
    sha256 = str(known.sha256)
    found = drift.triage(pair, sha256, read=lambda: read(uid), find=fetched.find_by_sha256, policy=policy)
    reason = drift.reason(found, policy)
    if reason:
        return {**failed, "reason": reason, "drift": found}
    return {"uid": uid, "shard": shard, "outcome": "ok", "sha256": sha256, "drift": found}


@contextlib.contextmanager
def explain_full_disks(scratch: Path) -> Iterator[None]:
    """Turns a disk without room into an error for people.

    Raises:
        ValueError: in the place of such an OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        place = error.filename or f"{scratch} or {store.root()}"
        raise ValueError(f"{place}: {error.strerror}; make room and run again: what has been fetched is kept") from None


@contextlib.contextmanager
def demo_sites(folder: str | None, snapshot: str) -> Iterator[dict[str, int]]:
    """Yields {host: loopback port} of the demo's websites, served while the context is open; none without a folder.

    Raises:
        ValueError: if the folder is not there.
    """
    if folder is None:
        yield {}
        return
    if not Path(folder).is_dir():
        raise ValueError(
            f"{folder}: not there; lay the demo down with `python -m pipelines.demo`, "
            "or set download.demo_site to null in params.yaml"
        )
    with DemoSite(Path(folder), snapshot) as site:
        yield dict.fromkeys(site.hosts, site.port)


if __name__ == "__main__":
    from pipelines.download import main  # Beam and pickle need an importable name, not __main__'s

    stage.command(main)
