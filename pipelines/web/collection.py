"""Every uid of a snapshot gets its record: img2dataset asks the gateway for them, again and again if need be."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lineage import files, stage
from pipelines.engine import RunnerConfig
from pipelines.web import downloader
from pipelines.web.downloader import Place
from pipelines.web.gateway import SILENCE_S, Gateway
from pipelines.web.source_table import SourceTable
from pipelines.web.store import FetchStore

logger = logging.getLogger("clipline")

_NUM_IDLE_RUNS = 3
"""How often img2dataset may end, or be ended, without one more record, before we give up."""


def pending_shards(table: SourceTable, fetched: FetchStore) -> dict[int, int]:
    """Returns {shard: number of its uids without a record} of the shards that have such."""
    missing = {shard: sum(uid not in fetched for uid in uids) for shard, uids in table.shards()}
    return {shard: number for shard, number in missing.items() if number}


def collect(
    table: SourceTable, fetched: FetchStore, gateway: Gateway, scratch: Path, *, stall_s: float, runner: RunnerConfig
) -> dict[int, Place]:
    """Has img2dataset fetch shards until every uid has a record, and returns where it put them.

    It is started anew, for what is missing alone, when one of its workers dies, when nothing moves for `stall_s`, and
    when it ends without having asked for every uid. Only the store says what is missing.

    Args:
        scratch: a folder of ours; what an earlier run left there goes.

    Raises:
        ValueError: if it comes no further, with what happened; or if the store is damaged.
        OSError: if the store cannot be written.
    """
    files.remove(scratch)
    places: dict[int, Place] = {}
    pending = pending_shards(table, fetched)
    num_runs = num_idle = 0
    while pending:
        num_runs += 1
        folder, missing = scratch / f"{num_runs:04d}", sum(pending.values())
        places |= {shard: Place(folder / "shards", number) for number, shard in enumerate(pending)}
        with stage.watch(f"download {fetched.snapshot}", missing, _counter(gateway)):
            ended = _run(table, pending, gateway, folder, stall_s=stall_s, runner=runner)
        gateway.raise_error()
        pending = pending_shards(table, fetched)
        left = sum(pending.values())
        num_idle = 0 if left < missing else num_idle + 1
        if ended or pending:
            told = f"img2dataset did not finish ({ended or 'rows were lost'}); {left} rows have no record"
            if num_idle == _NUM_IDLE_RUNS:
                log = folder / "shards.log"
                raise ValueError(f"{told}, and {num_idle} runs brought none; {log} ends: {downloader.last_words(log)}")
            logger.warning("download@%s: %s", fetched.snapshot, told)
    return places


def _run(
    table: SourceTable,
    pending: Mapping[int, int],
    gateway: Gateway,
    folder: Path,
    *,
    stall_s: float,
    runner: RunnerConfig,
) -> str | None:
    """Runs img2dataset once over the pending shards and returns how it ended too early, if so."""
    downloader.write_url_lists((table.uids(shard) for shard in pending), folder / "lists", table.rows_per_shard)
    gateway.work_ahead(uid for shard in pending for uid in table.uids(shard))

    def moved() -> object:
        gateway.raise_error()
        # a request under way ends by itself: the gateway bounds it
        return gateway.num_answered, time.monotonic() if gateway.idle_s == 0.0 else None

    return downloader.run_img2dataset(
        folder / "lists",
        folder / "shards",
        proxy=gateway.url,
        rows_per_shard=table.rows_per_shard,
        timeout_s=SILENCE_S,
        num_processes=runner.download_processes,
        num_threads=runner.download_threads,
        moved=moved,
        stall_s=stall_s,
    )


def _counter(gateway: Gateway) -> Callable[[], int]:
    begun = gateway.num_fetched
    return lambda: gateway.num_fetched - begun
