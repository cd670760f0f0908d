"""The loop around img2dataset, with a stand-in for the process that ends as told; the real one is in test_download."""

import logging
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lineage import records
from pipelines.web import collection, downloader
from pipelines.web.addresses import AddressPolicy, parse_networks
from pipelines.web.gateway import Gateway
from pipelines.web.source_table import SourceTable
from pipelines.web.store import FetchStore
from tests.builders import RUNNER
from tests.pipelines.download_project import config
from tests.pipelines.fault_server import FaultServer, answer, picture

NUM_ROWS = 7


class Collected:
    """A list of seven rows, three a shard, with its store, and a gateway that fetches nothing on its own."""

    def __init__(self, folder: Path, server: FaultServer) -> None:
        rows = []
        for number in range(NUM_ROWS):
            url = server.url(f"/{number}.png")
            rows.append({"uid": records.uid_of(url, "caption"), "url": url, "caption": "caption"})
        records.write_table(records.rows_table(rows, records.SOURCE), folder / "source.parquet")
        self.table = SourceTable(folder / "source.parquet", 3)
        self.fetched = FetchStore(folder / "store", "s1")
        self.scratch = folder / "img2dataset"
        self.gateway = Gateway(
            self.table,
            self.fetched,
            policy=AddressPolicy(allowed=parse_networks(["127.0.0.0/8"])),
            limits=config().limits(),
            user_agent="Clipline/0.1",
            sites={},
            num_connections=4,
        )

    def run(self) -> dict[int, downloader.Place]:
        with self.gateway:
            return collection.collect(self.table, self.fetched, self.gateway, self.scratch, stall_s=5.0, runner=RUNNER)


@pytest.fixture
def collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(Gateway, "work_ahead", lambda *_: None)
    with FaultServer({f"/{number}.png": answer(picture(number)) for number in range(NUM_ROWS)}) as server:
        made = Collected(tmp_path, server)
        yield made
        made.fetched.close()


class Img2dataset:
    """Asks the gateway for the rows it is told to, run by run, and ends as told."""

    def __init__(self, *runs: tuple[int, str | None]) -> None:
        self.runs = list(runs)
        self.asked: list[list[str]] = []

    def __call__(self, url_lists: Path, out: Path, *, proxy: str, **_: Any) -> str | None:
        out.with_suffix(".log").write_text("OSError: [Errno 5] the disk is on fire\n")
        uids = pq.read_table(url_lists)["uid"].to_pylist()
        self.asked.append(uids)
        number, ended = self.runs.pop(0)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))
        for uid in uids[:number]:
            opener.open(f"http://gateway.invalid/{uid}").close()
        return ended


def test_what_is_missing_is_asked_for_again_and_nothing_else(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in = Img2dataset((4, "one of its workers died"), (9, None))
    monkeypatch.setattr(downloader, "run_img2dataset", stand_in)
    places = collected.run()
    uids = list(collected.table)
    assert stand_in.asked == [uids, uids[3:]]
    assert len(collected.fetched) == NUM_ROWS
    assert {shard: (place.out.parent.name, place.shard) for shard, place in places.items()} == {
        0: ("0001", 0),
        1: ("0002", 0),
        2: ("0002", 1),
    }
    told = "download@s1: img2dataset did not finish (one of its workers died); 3 rows have no record"
    assert caplog.messages == [told]


def test_nothing_missing_starts_nothing(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Img2dataset((9, None)), Img2dataset()
    monkeypatch.setattr(downloader, "run_img2dataset", first)
    collected.run()
    monkeypatch.setattr(downloader, "run_img2dataset", second)
    assert collection.pending_shards(collected.table, collected.fetched) == {}
    assert collected.run() == {}


@pytest.mark.parametrize(
    ("ended", "told"), [("nothing moved for 9 s", "nothing moved for 9 s"), (None, "rows were lost")]
)
def test_runs_that_bring_nothing_come_to_an_end(
    ended: str | None, told: str, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = Img2dataset((1, ended), (0, ended), (0, ended), (2, ended), (0, ended), (0, ended), (0, ended))
    monkeypatch.setattr(downloader, "run_img2dataset", stand_in)
    with pytest.raises(ValueError, match="img2dataset did not finish") as caught:
        collected.run()
    assert stand_in.runs == [], "every run that brings something gives it new credit"
    assert f"img2dataset did not finish ({told}); 5 rows have no record, and 3 runs brought none; " in str(caught.value)
    assert str(caught.value).endswith("0007/shards.log ends: OSError: [Errno 5] the disk is on fire")


def test_a_full_store_ends_it_at_once(
    collected: Collected, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    def asking(url_lists: Path, out: Path, *, moved: Callable[[], object], **rest: Any) -> str | None:
        with pytest.raises(urllib.error.HTTPError) as caught:
            Img2dataset((1, None))(url_lists, out, **rest)
        caught.value.close()
        moved()
        raise AssertionError("the watchdog's look is to raise")

    monkeypatch.setattr(collected.fetched, "put", full)
    monkeypatch.setattr(downloader, "run_img2dataset", asking)
    with caplog.at_level(logging.WARNING), pytest.raises(OSError, match="No space left on device"):
        collected.run()


def test_a_gateway_that_ended_by_itself_ends_it_too(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    def waiting(_: Path, __: Path, *, moved: Callable[[], object], **___: Any) -> None:
        moved()
        collected.gateway._loop.call_soon_threadsafe(collected.gateway._loop.stop)
        collected.gateway._thread.join(timeout=10)
        moved()

    monkeypatch.setattr(downloader, "run_img2dataset", waiting)
    with pytest.raises(ValueError, match="the gateway has ended by itself; run the stage again"):
        collected.run()


def test_what_an_earlier_run_left_is_cleared_away(collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    (collected.scratch / "0001/shards").mkdir(parents=True)
    monkeypatch.setattr(downloader, "run_img2dataset", Img2dataset((9, None)))
    collected.run()
    assert sorted(path.name for path in (collected.scratch / "0001").iterdir()) == ["lists", "shards.log"]
