"""Stage download: the pictures of a snapshot, by img2dataset through the gateway, in a canonical form.

data/raw/S holds ledger.parquet, one row per source row, and NNNNN.tar with UID.EXT, UID.json and UID.txt of every
row that came, in order of uid. What was fetched once is answered from the store: the stage never fetches it again.
"""

import contextlib
import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lineage import params, reasons, records, stage
from pipelines import downloader, store, tar
from pipelines.addresses import AddressPolicy, parse_networks
from pipelines.demo_site import DemoSite
from pipelines.engine import RunnerConfig
from pipelines.fetch import FetchLimits
from pipelines.gateway import Gateway
from pipelines.pictures import sniff

logger = logging.getLogger("clipline")

_NUM_ROUNDS = 3
"""How often img2dataset is started for shards it left incomplete."""
_SPARE_S = 30.0
"""Time img2dataset waits for the gateway beyond the gateway's own bound."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DownloadConfig:
    """Section `download` of params.yaml."""

    rows_per_shard: int
    """Rows of one raw shard, >= 2."""
    deadline_s: float
    """Total time of one attempt, s."""
    max_bytes: int
    """Largest body, bytes."""
    max_redirects: int
    """Hops after the first."""
    num_attempts: int
    """Attempts where the failure may pass (time-out, 5xx, broken connection), >= 1."""
    backoff_s: float
    """Wait before the second attempt, doubling, s."""
    user_agent: str
    """Who we say we are, with an address to complain to."""
    allow_addresses: list[str]
    """Networks that may be reached although not public, e.g. 127.0.0.0/8 for a server of one's own."""
    demo_site: str | None
    """Folder of the demo's websites, served for *.demo.test while the stage runs; null without the demo."""

    def __post_init__(self) -> None:
        for name, least in (("rows_per_shard", 2), ("num_attempts", 1), ("max_redirects", 0), ("max_bytes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, not {getattr(self, name)}")
        if self.deadline_s <= 0 or self.backoff_s < 0:
            raise ValueError("deadline_s must be > 0 and backoff_s >= 0")
        parse_networks(self.allow_addresses)

    def limits(self) -> FetchLimits:
        """Returns the bounds of one fetch."""
        names = [field.name for field in dataclasses.fields(FetchLimits)]
        return FetchLimits(**{name: getattr(self, name) for name in names})

    def bound_s(self) -> float:
        """Returns the longest time one URL can take, s."""
        return self.num_attempts * self.deadline_s + self.backoff_s * 2.0**self.num_attempts


def main(source: Path, raw: Path, provenance: Path) -> None:
    """Downloads the pictures of one snapshot."""
    config = params.load("download", DownloadConfig)
    runner = params.load("runner", RunnerConfig)
    snapshot = raw.name
    earlier = snapshots_before(snapshot, params.names("snapshots"))
    with stage.run("download", snapshot, params=config, deps=[source], outs=[raw], provenance=provenance) as this:
        pairs = records.read_table(source / "source.parquet", records.SOURCE).to_pylist()
        fetched = store.FetchStore(store.root(), snapshot)
        with contextlib.closing(fetched):
            fetched.expect(pair["uid"] for pair in pairs)
            copy_earlier(fetched, store.root(), earlier, pairs)
            ledger = collect(pairs, fetched, this, config=config, runner=runner)
            fetched.mark_complete(pair["uid"] for pair in pairs)
        records.write_table(records.rows_table(ledger, records.LEDGER), this.scratch / "raw" / "ledger.parquet")
        failed = Counter(row["reason"] for row in ledger if row["outcome"] == "failed")
        this.account(rows_in=len(pairs), kept=sum(row["outcome"] == "ok" for row in ledger), failed=failed)
        this.publish(this.scratch / "raw", raw)


def snapshots_before(snapshot: str, snapshots: list[str]) -> list[str]:
    """Returns the snapshots listed before `snapshot`, the nearest first.

    Raises:
        ValueError: if it is not listed at all.
    """
    if snapshot not in snapshots:
        raise ValueError(f"snapshot {snapshot!r} is not listed in params.yaml: snapshots")
    return snapshots[: snapshots.index(snapshot)][::-1]


def copy_earlier(fetched: store.FetchStore, root: Path, earlier: list[str], pairs: list[dict[str, Any]]) -> None:
    """Copies what earlier snapshots fetched well, nearest first, so that bytes do not depend on the order of runs.

    Raises:
        ValueError: if an earlier snapshot has no complete record set yet.
    """
    for name in reversed(earlier):
        if not store.is_complete(root, name):
            raise ValueError(
                f"{root}: no complete records of snapshot {name}, which is listed before; bring the store from where "
                f"it ran (CLIPLINE_STORE), or fetch anew with `dvc repro --force --single-item download@{name}`"
            )
    for name in earlier:
        fetched.copy_from(name, [pair["uid"] for pair in pairs])


def collect(
    pairs: list[dict[str, Any]],
    fetched: store.FetchStore,
    this: stage.Run,
    *,
    config: DownloadConfig,
    runner: RunnerConfig,
) -> list[dict[str, Any]]:
    """Returns the ledger rows of all pairs and writes the raw shards into the scratch."""
    pairs = sorted(pairs, key=lambda pair: pair["uid"])
    shards = [pairs[start : start + config.rows_per_shard] for start in range(0, len(pairs), config.rows_per_shard)]
    (this.scratch / "raw").mkdir(exist_ok=True)
    # a demo that is not laid down here is missed only where something is to be fetched
    site = config.demo_site if any(pair["uid"] not in fetched for pair in pairs) else None
    with demo_sites(site, this.instance) as sites:
        with Gateway(
            {pair["uid"]: pair["url"] for pair in pairs},
            fetched,
            policy=AddressPolicy(allowed=parse_networks(config.allow_addresses)),
            limits=config.limits(),
            user_agent=config.user_agent,
            sites=sites,
            num_connections=runner.download_processes * runner.download_threads,
        ) as gateway:
            uids = [[pair["uid"] for pair in shard] for shard in shards]
            make_shards(uids, gateway, fetched, this, config=config, runner=runner)
    logger.info(
        "download@%s: %d URLs asked of the web, the rest answered from the store", this.instance, gateway.num_fetched
    )
    return [row for number, shard in enumerate(shards) for row in write_raw_shard(number, shard, fetched, this.scratch)]


def make_shards(
    shards: list[list[str]],
    gateway: Gateway,
    fetched: store.FetchStore,
    this: stage.Run,
    *,
    config: DownloadConfig,
    runner: RunnerConfig,
) -> None:
    """Has img2dataset make its shards in the scratch, again where they disagree with the store.

    Args:
        shards: the uids of each, sorted.

    Raises:
        ValueError: if some disagree to the end, or the store is damaged.
    """
    made, url_list = this.scratch / "img2dataset", this.scratch / "urls.parquet"
    downloader.write_url_list([uid for shard in shards for uid in shard], url_list)
    for _ in range(_NUM_ROUNDS):
        if discard_incomplete(made, shards, fetched) == 0:
            return
        with stage.watch(f"download {this.instance}", len(shards), lambda: len(downloader.finished_shards(made))):
            downloader.run_img2dataset(
                url_list,
                made,
                proxy=gateway.url,
                rows_per_shard=config.rows_per_shard,
                timeout_s=config.bound_s() + _SPARE_S,
                num_processes=runner.download_processes,
                num_threads=runner.download_threads,
            )
        gateway.raise_error()
    if discard_incomplete(made, shards, fetched):
        raise ValueError(f"img2dataset left shards incomplete {_NUM_ROUNDS} times; see {made}.log")


def discard_incomplete(made: Path, shards: list[list[str]], fetched: store.FetchStore) -> int:
    """Removes img2dataset's shards that disagree with the store, and returns how many are to be made anew.

    It exits with 0 where shards failed and loses rows that raise: only a shard whose every row agrees counts.
    """
    finished = set(downloader.finished_shards(made))
    bad = 0
    for number, uids in enumerate(shards):
        agreed = number in finished and all(uid in fetched for uid in uids)
        if not agreed or not downloader.agrees(made, number, {uid: fetched[uid].sha256 for uid in uids}):
            downloader.discard(made, number)
            bad += 1
    return bad


def write_raw_shard(
    shard: int, pairs: list[dict[str, Any]], fetched: store.FetchStore, scratch: Path
) -> list[dict[str, Any]]:
    """Writes one canonical raw shard from img2dataset's and returns its ledger rows."""
    contents = downloader.pictures(scratch / "img2dataset", shard)
    ledger = []
    with (scratch / "raw" / tar.shard_name(shard)).open("wb") as file:
        for pair in pairs:
            record = fetched[pair["uid"]]
            row = {"uid": pair["uid"], "outcome": record.outcome, "reason": record.reason, "shard": shard}
            if record.outcome == "ok":
                row |= _add_sample(file, pair, contents[pair["uid"]], str(record.sha256))
            else:
                reasons.check(str(record.reason))
            ledger.append(row)
        tar.close(file)
    return ledger


def _add_sample(file: Any, pair: dict[str, Any], content: bytes, sha256: str) -> dict[str, Any]:
    uid = pair["uid"]
    extension = sniff(content)
    assert extension is not None, "the gateway answers ok for pictures only"
    key = f"{uid}.{extension}"
    offset = tar.add(file, key, content)
    facts = {name: pair[name] for name in ("uid", "url", "caption", "license", "origin")}
    tar.add(file, f"{uid}.json", json.dumps(facts, sort_keys=True, ensure_ascii=False).encode())
    tar.add(file, f"{uid}.txt", pair["caption"].encode())
    return {"sha256": sha256, "bytes": len(content), "key": key, "offset": offset}


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
