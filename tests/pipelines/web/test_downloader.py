import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage import digests
from pipelines.web import downloader
from pipelines.web.addresses import AddressPolicy, parse_networks
from pipelines.web.downloader import MadeShard, Place
from pipelines.web.gateway import HOST, SILENCE_S, Gateway
from pipelines.web.store import FetchStore
from tests.pipelines.download_project import config
from tests.pipelines.fault_server import FaultServer, answer, picture

UIDS = [f"{number:032x}" for number in range(7)]
SHARDS = [UIDS[0:3], UIDS[3:6], UIDS[6:7]]
GONE = {UIDS[1], UIDS[6]}
"""UIDS[6] is alone in its shard."""
PICTURES = {uid: picture(number) for number, uid in enumerate(UIDS) if uid not in GONE}


def make(folder: Path, gateway: Gateway) -> str | None:
    """Runs img2dataset once on all shards."""
    downloader.write_url_lists(SHARDS, folder / "lists", 3)
    return downloader.run_img2dataset(
        folder / "lists",
        folder / "shards",
        proxy=gateway.url,
        rows_per_shard=3,
        timeout_s=SILENCE_S,
        num_processes=1,
        num_threads=2,
        moved=lambda: gateway.num_answered,
        stall_s=60.0,
    )


def read(made: Path, shard: int) -> dict[str, bytes | None]:
    """Returns what is to be had of each uid of a shard."""
    with MadeShard(Place(made, shard)) as opened:
        found = {uid: opened.read(uid, digests.sha256_bytes(PICTURES.get(uid, b""))) for uid in SHARDS[shard]}
        assert opened.read(UIDS[0], "0" * 64) is None
        assert opened.read("absent", "0" * 64) is None
    return found


@pytest.mark.slow
def test_img2datasets_shards_hold_what_came_through_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # the environment's proxies are not the gateway
    monkeypatch.setenv("no_proxy", "*")
    fetched = FetchStore(tmp_path / "store", "s1")
    with FaultServer({f"/{uid}": answer(content) for uid, content in PICTURES.items()}) as server:
        with Gateway(
            {uid: server.url(f"/{uid}") for uid in UIDS},
            fetched,
            policy=AddressPolicy(allowed=parse_networks(["127.0.0.0/8"])),
            limits=config().limits(),
            user_agent="Clipline/0.1",
            sites={},
            num_connections=4,
        ) as gateway:
            assert make(tmp_path / "first", gateway) is None
            assert gateway.num_fetched == gateway.num_answered == 7
            assert make(tmp_path / "second", gateway) is None
            assert (gateway.num_fetched, gateway.num_answered) == (7, 14)
        assert max(server.hits.values()) == 1
    fetched.close()
    for folder in ("first", "second"):
        made = tmp_path / folder / "shards"
        for shard, uids in enumerate(SHARDS):
            assert read(made, shard) == {uid: PICTURES.get(uid) for uid in uids}
    check_every_damage(tmp_path / "first/shards")


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


def check_every_damage(made: Path) -> None:
    """A damaged shard gives fewer pictures, and never wrong ones."""
    parquet, archive = Path("00000.parquet"), Path("00000.tar")
    damages: dict[str, tuple[int, Callable[[Path], None]]] = {
        "nothing": (2, lambda _: None),
        "picture": (1, lambda copy: flip(copy / archive)),
        "no tar": (0, lambda copy: (copy / archive).unlink()),
        "half a tar": (0, lambda copy: os.truncate(copy / archive, 700)),
        "empty tar": (0, lambda copy: os.truncate(copy / archive, 0)),
        "no parquet": (0, lambda copy: (copy / parquet).unlink()),
        "half a parquet": (0, lambda copy: os.truncate(copy / parquet, 100)),
        "keys mixed up": (0, lambda copy: rewrite(copy / parquet, swap_keys)),
        "column lost": (0, lambda copy: rewrite(copy / parquet, lambda table: table.drop_columns(["key"]))),
    }
    for damage, (number, do) in damages.items():
        copy = made.parent / "copy"
        shutil.copytree(made, copy)
        do(copy)
        found = read(copy, 0)
        assert all(content in (None, PICTURES.get(uid)) for uid, content in found.items()), damage
        assert sum(content is not None for content in found.values()) == number, damage
        shutil.rmtree(copy)


def swap_keys(table: pa.Table) -> pa.Table:
    keys = table["key"].to_pylist()
    return table.set_column(table.column_names.index("key"), "key", [keys[1:] + keys[:1]])


@pytest.mark.slow
def test_an_error_of_img2dataset_comes_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    ended = downloader.run_img2dataset(
        tmp_path / "lists",
        tmp_path / "out",
        proxy="http://127.0.0.1:9",
        rows_per_shard=2,
        timeout_s=1.0,
        num_processes=1,
        num_threads=1,
        moved=lambda: None,
        stall_s=60.0,
    )
    assert ended is not None
    assert ended.startswith("it ended with status 1: ")
    assert "No file found at path" in ended


def test_the_url_lists_name_the_gateway_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloader, "_SHARDS_PER_LIST", 2)
    downloader.write_url_lists(SHARDS, tmp_path / "new" / "lists", 3)
    written = [pq.read_table(path) for path in sorted((tmp_path / "new/lists").iterdir())]
    assert [table["uid"].to_pylist() for table in written] == [UIDS[:6], UIDS[6:]]
    assert [table["url"].to_pylist()[0] for table in written] == [f"http://{HOST}/{uid}" for uid in (UIDS[0], UIDS[6])]
    downloader.write_url_lists([], tmp_path / "none", 3)
    assert not list((tmp_path / "none").iterdir())


def test_a_shard_of_fewer_rows_ends_its_list(tmp_path: Path) -> None:
    shards = [UIDS[:3], UIDS[3:4], UIDS[4:6], UIDS[6:7]]
    downloader.write_url_lists(shards, tmp_path / "lists", 3)
    written = [pq.read_table(path)["uid"].to_pylist() for path in sorted((tmp_path / "lists").iterdir())]
    assert written == [UIDS[:4], UIDS[4:6], UIDS[6:7]]


def test_discarding_a_shard_leaves_the_others(tmp_path: Path) -> None:
    for name in ("10000.tar", "10000_stats.json", "100000.tar", "100000_stats.json", "10001.tar"):
        (tmp_path / name).touch()
    downloader.discard(Place(tmp_path, 10000))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["100000.tar", "100000_stats.json", "10001.tar"]


def test_nothing_is_to_be_had_where_img2dataset_made_nothing(tmp_path: Path) -> None:
    with MadeShard(None) as made:
        assert made.read("a", "b") is None
    with MadeShard(Place(tmp_path / "none", 3)) as made:
        assert made.read("a", "b") is None


def test_the_childs_environment_has_one_proxy_and_our_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "http://elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/more")
    environment = downloader._environment("http://127.0.0.1:4711")
    assert {name: value for name, value in environment.items() if "proxy" in name.lower()} == {
        "http_proxy": "http://127.0.0.1:4711"
    }
    assert environment["NO_ALBUMENTATIONS_UPDATE"] == "1"
    ours, theirs = environment["PYTHONPATH"].split(os.pathsep)
    assert (Path(ours) / "pipelines/web/worker_pool.py").is_file()
    assert theirs == "/more"


def test_the_last_words_are_the_errors_or_the_end_in_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n\n" + b"\n".join(json.dumps({"n": n}).encode() for n in range(5)) + b"\n\xff\n")
    assert downloader.last_words(log) == '{"n": 1} | {"n": 2} | {"n": 3} | {"n": 4} | \N{REPLACEMENT CHARACTER}'
    log.write_text("Traceback\n  File x\nOSError: [Errno 28] No space left on device\nRetrying 1 shards\n")
    assert downloader.last_words(log) == "OSError: [Errno 28] No space left on device"
