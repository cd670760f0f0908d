import os
import shutil
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage import digests
from pipelines import downloader
from pipelines.addresses import AddressPolicy, parse_networks
from pipelines.download import discard_incomplete
from pipelines.fetch import FetchLimits
from pipelines.gateway import HOST, Gateway
from pipelines.store import FetchStore
from tests.pipelines.fault_server import FaultServer, answer, picture

UIDS = [f"{number:032x}" for number in range(7)]
SHARDS = [UIDS[0:3], UIDS[3:6], UIDS[6:7]]
GONE = {UIDS[1], UIDS[6]}
"""UIDS[6] is alone in its shard."""
LIMITS = FetchLimits(deadline_s=5.0, max_bytes=1 << 20, max_redirects=0, num_attempts=1, backoff_s=0.0)


def make(made: Path, fetched: FetchStore, server: FaultServer) -> int:
    """Runs img2dataset once and returns how many URLs went to the web."""
    downloader.write_url_list(UIDS, made.parent / "urls.parquet")
    with Gateway(
        {uid: server.url(f"/{uid}") for uid in UIDS},
        fetched,
        policy=AddressPolicy(allowed=parse_networks(["127.0.0.0/8"])),
        limits=LIMITS,
        user_agent="Clipline/0.1",
        sites={},
        num_connections=4,
    ) as gateway:
        downloader.run_img2dataset(
            made.parent / "urls.parquet",
            made,
            proxy=gateway.url,
            rows_per_shard=3,
            timeout_s=20.0,
            num_processes=1,
            num_threads=2,
        )
        return gateway.num_fetched


@pytest.mark.slow
def test_img2datasets_shards_agree_and_damaged_ones_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # the environment's proxies are not the gateway
    monkeypatch.setenv("no_proxy", "*")
    answers = {f"/{uid}": answer(picture(number)) for number, uid in enumerate(UIDS) if uid not in GONE}
    made, fetched = tmp_path / "made", FetchStore(tmp_path / "store", "s1")
    with FaultServer(answers) as server:
        assert discard_incomplete(made, SHARDS, fetched) == 3
        assert make(made, fetched, server) == 7
        expected = {
            uid: None if uid in GONE else digests.sha256_bytes(picture(number)) for number, uid in enumerate(UIDS)
        }
        assert downloader.finished_shards(made) == [0, 1, 2]
        assert {
            uid: sha256 for shard in range(3) for uid, sha256 in downloader.outcomes(made, shard).items()
        } == expected
        assert downloader.pictures(made, 1) == {UIDS[number]: picture(number) for number in (3, 4, 5)}
        assert downloader.pictures(made, 2) == {}
        assert discard_incomplete(made, SHARDS, fetched) == 0
        check_every_damage(made, fetched)

        untouched = (made / "00002.tar").stat().st_mtime_ns
        (made / "00000.tar").unlink()
        flip(made / "00001.tar")
        assert discard_incomplete(made, SHARDS, fetched) == 2
        assert downloader.finished_shards(made) == [2]
        assert make(made, fetched, server) == 0
        assert discard_incomplete(made, SHARDS, fetched) == 0
        assert (made / "00002.tar").stat().st_mtime_ns == untouched
        assert max(server.hits.values()) == 1
    fetched.close()


def flip(path: Path) -> None:
    """Changes one byte in the middle of the first picture of a tar."""
    with tarfile.open(path) as archive:
        first = next(member for member in archive if member.name.endswith(".jpg"))
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(first.offset_data + first.size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path)), path)


def check_every_damage(made: Path, fetched: FetchStore) -> None:
    expected = {uid: fetched[uid].sha256 for uid in SHARDS[0]}
    parquet, archive = Path("00000.parquet"), Path("00000.tar")
    damages: dict[str, Callable[[Path], None]] = {
        "nothing": lambda _: None,
        "picture": lambda copy: flip(copy / archive),
        "no tar": lambda copy: (copy / archive).unlink(),
        "half a tar": lambda copy: os.truncate(copy / archive, 700),
        "empty tar": lambda copy: os.truncate(copy / archive, 0),
        "no parquet": lambda copy: (copy / parquet).unlink(),
        "half a parquet": lambda copy: os.truncate(copy / parquet, 100),
        "row lost": lambda copy: rewrite(copy / parquet, lambda table: table.slice(1)),
        "column lost": lambda copy: rewrite(copy / parquet, lambda table: table.drop_columns(["key"])),
    }
    for damage, do in damages.items():
        copy = made.parent / "copy"
        shutil.copytree(made, copy)
        do(copy)
        assert downloader.agrees(copy, 0, expected) == (damage == "nothing"), damage
        shutil.rmtree(copy)


@pytest.mark.slow
def test_an_error_of_img2dataset_comes_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"img2dataset ended with status 1: .*No such file|FileNotFoundError"):
        downloader.run_img2dataset(
            tmp_path / "no-such.parquet",
            tmp_path / "out",
            proxy="http://127.0.0.1:9",
            rows_per_shard=2,
            timeout_s=1.0,
            num_processes=1,
            num_threads=1,
        )


def test_the_url_list_names_the_gateway_only(tmp_path: Path) -> None:
    downloader.write_url_list(["a", "b"], tmp_path / "new" / "urls.parquet")
    table = pq.read_table(tmp_path / "new" / "urls.parquet")
    assert table.to_pydict() == {"url": [f"http://{HOST}/a", f"http://{HOST}/b"], "uid": ["a", "b"]}


def test_a_shard_counts_with_its_statistics_only(tmp_path: Path) -> None:
    for name in ("00000.tar", "00000.parquet", "00000_stats.json", "00001.tar", "00001.parquet", "100000_stats.json"):
        (tmp_path / name).touch()
    assert downloader.finished_shards(tmp_path) == [0, 100000]
    assert downloader.finished_shards(tmp_path / "none") == []


def test_discarding_a_shard_leaves_the_others(tmp_path: Path) -> None:
    for name in ("10000.tar", "10000_stats.json", "100000.tar", "100000_stats.json", "10001.tar"):
        (tmp_path / name).touch()
    (tmp_path / "10000.parquet").mkdir()
    downloader.discard(tmp_path, 10000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["100000.tar", "100000_stats.json", "10001.tar"]


def test_the_childs_environment_has_one_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "http://elsewhere")
    environment = downloader._environment("http://127.0.0.1:4711")
    assert {name: value for name, value in environment.items() if "proxy" in name.lower()} == {
        "http_proxy": "http://127.0.0.1:4711"
    }
    assert environment["NO_ALBUMENTATIONS_UPDATE"] == "1"


CHILD = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(str(worker.pid))
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("seconds", ["0", "600"])
def test_workers_die_with_the_command(seconds: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with (tmp_path / "log").open("wb") as log:
        with downloader._own_group([sys.executable, "-c", CHILD, str(pid), seconds], log, dict(os.environ)) as process:
            if seconds == "0":
                assert process.wait() == 0
            while not (pid.exists() and pid.read_text()):
                time.sleep(0.01)
    assert process.returncode == (0 if seconds == "0" else -9)
    assert ended(int(pid.read_text()))


def ended(pid: int, within_s: float = 5.0) -> bool:
    """Returns whether a process is gone, or waits to be reaped, in time."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False
