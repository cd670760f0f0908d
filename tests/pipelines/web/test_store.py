import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from lineage import digests, records
from pipelines.web import fetch_record, store
from pipelines.web.fetch_record import FetchRecord
from pipelines.web.store import FetchStore

WRITER = """
import sys, time
from pathlib import Path
from tests.pipelines.web.test_store import ok
from pipelines.web.store import FetchStore
fetched = FetchStore(Path(sys.argv[1]), "s1")
for number in range(100_000):
    body = bytes([number % 256]) * 50_000
    fetched.put(ok(f"u{number}", body), body)
"""


def ok(uid: str, body: bytes) -> FetchRecord:
    return FetchRecord(
        uid=uid,
        url=f"http://a.example/{uid}?ä=☃",
        outcome="ok",
        reason=None,
        message="",
        status=200,
        final_url=f"http://b.example/{uid}",
        headers={"content-type": "image/png", "etag": '"ä☃"'},
        sha256=digests.sha256_bytes(body),
        bytes=len(body),
        num_attempts=1,
        seconds=0.25,
        fetched_at="2026-11-01T00:00:00+00:00",
        attempts=[{"at": "2026-11-01T00:00:00+00:00", "status": 200, "reason": None, "seconds": 0.2}],
        consent=["s1/1"],
    )


def failed(uid: str, reason: str = "http_404") -> FetchRecord:
    nothing: dict[str, Any] = {"sha256": None, "bytes": None, "status": 404, "headers": {}}
    return dataclasses.replace(ok(uid, b""), outcome="failed", reason=reason, message="HTTP 404\n", **nothing)


@pytest.fixture
def opened() -> Iterator[list[FetchStore]]:
    stores: list[FetchStore] = []
    yield stores
    for one in stores:
        one.close()


def filled(root: Path, snapshot: str = "s1") -> None:
    """Puts two bodies and a failure, in one run."""
    fetched = FetchStore(root, snapshot)
    fetched.put(ok("u1", b"one"), b"one")
    fetched.put(failed("u2"), None)
    fetched.put(ok("u3", b"three"), b"three")
    fetched.close()


def test_what_goes_in_comes_out(tmp_path: Path, opened: list[FetchStore]) -> None:
    filled(tmp_path)
    opened.append(fetched := FetchStore(tmp_path, "s1"))
    assert [uid in fetched for uid in ("u1", "u2", "u3", "u4")] == [True, True, True, False]
    assert (fetched.body("u1"), fetched.body("u3")) == (b"one", b"three")
    assert fetched["u2"] == failed("u2")
    assert fetched["u1"] == dataclasses.replace(ok("u1", b"one"), warc="s1/00000.warc.gz", offset=0)


def test_bodies_are_warc_records_any_tool_can_read(tmp_path: Path) -> None:
    filled(tmp_path)
    with (tmp_path / "fetch/s1/00000.warc.gz").open("rb") as file:
        found = [
            (one.rec_type, one.rec_headers["WARC-Target-URI"], one.http_headers.get_statuscode(), one.raw_stream.read())
            for one in ArchiveIterator(file)
        ]
    assert found == [
        ("response", "http://b.example/u1", "200", b"one"),
        ("response", "http://b.example/u3", "200", b"three"),
    ]


def test_it_only_grows(tmp_path: Path, opened: list[FetchStore]) -> None:
    filled(tmp_path)
    folder = tmp_path / "fetch/s1"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    opened.append(fetched := FetchStore(tmp_path, "s1"))
    with pytest.raises(ValueError, match="uid u2 has a record already; the store only grows"):
        fetched.put(ok("u2", b"two"), b"two")
    fetched.put(ok("u4", b"four"), b"four")
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after["00000.warc.gz"] == before["00000.warc.gz"]
    assert after["index.jsonl"].startswith(before["index.jsonl"])
    assert sorted(after) == ["00000.warc.gz", "00001.warc.gz", "index.jsonl"]
    assert fetched["u4"].warc == "s1/00001.warc.gz"


def test_a_run_without_bodies_makes_no_segment(tmp_path: Path, opened: list[FetchStore]) -> None:
    opened.append(fetched := FetchStore(tmp_path, "s1"))
    fetched.put(failed("u1"), None)
    assert [path.name for path in (tmp_path / "fetch/s1").iterdir()] == ["index.jsonl"]


def test_a_lost_segment_does_not_stop_new_ones(tmp_path: Path, opened: list[FetchStore]) -> None:
    filled(tmp_path)
    (tmp_path / "fetch/s1/00000.warc.gz").rename(tmp_path / "fetch/s1/00003.warc.gz")
    opened.append(fetched := FetchStore(tmp_path, "s1"))
    assert fetched.put(ok("u4", b"four"), b"four").warc == "s1/00004.warc.gz"


@pytest.mark.parametrize("cut", [1, 10, 200])
def test_a_half_written_line_is_ignored_and_the_next_run_goes_on(
    cut: int, tmp_path: Path, opened: list[FetchStore]
) -> None:
    filled(tmp_path)
    index = tmp_path / "fetch/s1/index.jsonl"
    whole = index.read_bytes()
    index.write_bytes(whole[:-cut])
    with (tmp_path / "fetch/s1/00000.warc.gz").open("ab") as segment:  # a body whose line never came
        segment.write(b"\x1f\x8b\x08half")
    fetched = FetchStore(tmp_path, "s1")
    assert "u2" in fetched
    assert "u3" not in fetched
    fetched.put(ok("u3", b"3"), b"3")
    fetched.close()
    opened.append(again := FetchStore(tmp_path, "s1"))
    assert (again.body("u1"), again.body("u3")) == (b"one", b"3")
    assert [json.loads(line)["uid"] for line in index.read_bytes().splitlines()] == ["u1", "u2", "u3"]


def test_a_kill_at_any_moment_leaves_what_was_recorded(tmp_path: Path, opened: list[FetchStore]) -> None:
    index = tmp_path / "fetch/s1/index.jsonl"
    for _ in range(2):
        size = index.stat().st_size if index.exists() else 0
        script = WRITER.replace("range(100_000)", f"range({size}, 100_000_000)")
        environment = {**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[2])}
        with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=environment) as process:
            while not index.exists() or index.stat().st_size < size + 20_000:
                assert process.poll() is None
            process.kill()
    opened.append(fetched := FetchStore(tmp_path, "s1"))
    uids = [json.loads(line)["uid"] for line in index.read_bytes().splitlines()]
    assert len(uids) == len(set(uids)) > 50
    for uid in uids:
        assert fetched.body(uid) == bytes([int(uid[1:]) % 256]) * 50_000


def test_two_processes_never_append_at_once(tmp_path: Path, opened: list[FetchStore]) -> None:
    opened.append(FetchStore(tmp_path, "s1"))
    with pytest.raises(ValueError, match=r"index\.jsonl: another download of this snapshot is at work"):
        FetchStore(tmp_path, "s1")
    opened.append(FetchStore(tmp_path, "s2"))


@pytest.mark.parametrize("damage", ["flip", "cut", "zeros", "gone", "other"])
def test_a_damaged_body_is_named(damage: str, tmp_path: Path, opened: list[FetchStore]) -> None:
    filled(tmp_path)
    opened.append(fetched := FetchStore(tmp_path, "s1"))
    path, offset = tmp_path / "fetch/s1/00000.warc.gz", fetched["u3"].offset
    content = path.read_bytes()
    middle = (offset + len(content)) // 2 if offset else 0
    changed = {
        "flip": content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :],
        "cut": content[:middle],
        "zeros": content[:offset] + bytes(len(content)),
        "other": content[:offset] + content[:offset],
    }
    path.unlink() if damage == "gone" else path.write_bytes(changed[damage])
    with pytest.raises(ValueError, match=rf"00000\.warc\.gz: .*{'' if damage == 'gone' else f'byte {offset}'}"):
        fetched.body("u3")
    if damage != "gone":
        assert fetched.body("u1") == b"one"


@pytest.mark.parametrize("line", [b"{}\n", b"not json\n", b'{"uid": "u9", "extra": 1}\n', b"[1]\n"])
def test_a_damaged_index_is_named(line: bytes, tmp_path: Path) -> None:
    filled(tmp_path)
    index = tmp_path / "fetch/s1/index.jsonl"
    index.write_bytes(line + index.read_bytes())
    with pytest.raises(ValueError, match=r"index\.jsonl:1: no fetch record"):
        FetchStore(tmp_path, "s1")


@pytest.mark.parametrize("url", ["HTTP://B.example/u1", "http://b.example/ä b/u1", "https://b.example/%41"])
def test_a_url_in_any_spelling_reads_back(url: str, tmp_path: Path, opened: list[FetchStore]) -> None:
    opened.append(fetched := FetchStore(tmp_path, "s1"))
    fetched.put(dataclasses.replace(ok("u1", b"one"), final_url=url), b"one")
    assert fetched.body("u1") == b"one"


def test_a_refusal_by_our_own_params_is_asked_again(tmp_path: Path, opened: list[FetchStore]) -> None:
    first = FetchStore(tmp_path, "s1")
    first.put(failed("u1", "address_not_allowed"), None)
    assert first["u1"].reason == "address_not_allowed"
    first.close()
    opened.append(again := FetchStore(tmp_path, "s1"))
    assert "u1" not in again
    again.put(ok("u1", b"one"), b"one")
    assert again.body("u1") == b"one"


def test_failed_records_are_tried_again_when_told_and_good_ones_stay(tmp_path: Path, opened: list[FetchStore]) -> None:
    filled(tmp_path)
    told = FetchStore(tmp_path, "s1")
    assert told.retry_failed() == 1
    told.close()
    opened.append(again := FetchStore(tmp_path, "s1"))
    assert "u2" not in again
    assert again.body("u1") == b"one"
    index = (tmp_path / "fetch/s1/index.jsonl").read_text()
    assert "HTTP 404" in index, "what the web once said stays as evidence"


def test_completeness_is_of_the_uids_expected(tmp_path: Path, opened: list[FetchStore]) -> None:
    opened.append(fetched := FetchStore(tmp_path, "s1"))
    fetched.put(ok("u1", b"one"), b"one")
    fetched.mark_complete(["u1"])
    fetched.expect(["u1"])
    assert store.is_complete(tmp_path, "s1")
    fetched.expect(["u1", "u2"])
    assert not store.is_complete(tmp_path, "s1")


def test_lines_of_an_earlier_form_still_count(tmp_path: Path, opened: list[FetchStore]) -> None:
    filled(tmp_path)
    index = tmp_path / "fetch/s1/index.jsonl"
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    for line in lines:
        del line["attempts"], line["consent"]
    index.write_text("".join(json.dumps(line) + "\n" for line in lines))
    opened.append(fetched := FetchStore(tmp_path, "s1"))
    assert (len(fetched), fetched["u1"].attempts, fetched["u1"].consent) == (3, [], [])
    assert fetched.body("u1") == b"one"


def test_complete_is_what_has_every_record(tmp_path: Path, opened: list[FetchStore]) -> None:
    filled(tmp_path)
    opened.append(fetched := FetchStore(tmp_path, "s1"))
    assert not store.is_complete(tmp_path, "s1")
    with pytest.raises(AssertionError, match="1 uids without a record"):
        fetched.mark_complete(["u1", "u2", "u9"])
    assert not store.is_complete(tmp_path, "s1")
    fetched.mark_complete(["u2", "u1"])
    assert store.is_complete(tmp_path, "s1")
    rows = records.read_table(tmp_path / "attempts/s1/attempts.parquet", fetch_record.ATTEMPTS).to_pylist()
    assert [(row["uid"], row["reason"], row["status"]) for row in rows] == [("u1", None, 200), ("u2", "http_404", 404)]
    assert [json.loads(rows[0][name]) for name in ("attempts", "consent")] == [ok("u1", b"").attempts, ["s1/1"]]
    assert json.loads(rows[0]["headers"]) == {"content-type": "image/png", "etag": '"ä☃"'}


def test_an_empty_snapshot_can_be_complete(tmp_path: Path, opened: list[FetchStore]) -> None:
    opened.append(fetched := FetchStore(tmp_path, "s1"))
    fetched.mark_complete([])
    assert store.is_complete(tmp_path, "s1")
