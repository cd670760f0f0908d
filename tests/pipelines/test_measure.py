"""Measure gives every row its signals, the same bytes however it runs; damage costs what is nowhere else, no more."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lineage import digests, records
from pipelines import measure
from pipelines.web import store
from pipelines.web.fetch_record import FetchRecord
from tests.builders import RawPair, contents, enter, make_pairs, make_picture, write_params, write_raw
from tests.pipelines.source_builder import write_source

SOURCE, RAW, OUT = Path("data/source/s1"), Path("data/raw/s1"), Path("data/signals/s1")
PROVENANCE = Path("provenance/measure/s1.json")
PAIRS = [
    *make_pairs(6),
    RawPair(url="https://a.test/cut", caption="cut short", picture=make_picture(9)[:-300]),
    RawPair(url="https://a.test/html", caption="a page", picture=b"<html>"),
    RawPair(url="https://a.test/bomb", caption="large", picture=make_picture(9, (101, 100))),
    RawPair(url="https://a.test/404", caption="gone"),
    RawPair(url="https://a.test/out", caption="opted out", reason="opt_out"),
]
PICTURE_COLUMNS = ("format", "width", "height", "pixel_sha256", "phash", "blur", "flatness")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    monkeypatch.setenv("CLIPLINE_STORE", str(tmp_path / "store"))
    write_source(SOURCE, PAIRS)
    write_raw(RAW, PAIRS)


def run(**changes: Any) -> tuple[dict[str, bytes], dict[str, Any]]:
    write_params(**changes)
    measure.main(SOURCE, RAW, OUT, PROVENANCE)
    return contents(OUT), json.loads(PROVENANCE.read_text())


def measured() -> dict[str, dict[str, Any]]:
    return {row["uid"]: row for row in records.read_table(OUT, records.SIGNALS).to_pylist()}


def write_store() -> None:
    """Stores the pictures as stage download did."""
    fetched = store.FetchStore(store.root(), "s1")
    for pair in PAIRS:
        if pair.picture is not None:
            facts = {"uid": pair.uid, "url": pair.url, "final_url": pair.url, "outcome": "ok", "reason": None}
            content = {"sha256": digests.sha256_bytes(pair.picture), "bytes": len(pair.picture)}
            web = {"message": "", "status": 200, "headers": {}, "num_attempts": 1, "seconds": 0.1, "fetched_at": "now"}
            fetched.put(FetchRecord(**facts, **content, **web), pair.picture)  # type: ignore[arg-type]
    fetched.close()


def damage(shard: int = 1) -> str:
    """Flips a bit in the first picture of a raw shard and returns its uid."""
    rows = records.read_table(RAW / "ledger.parquet").to_pylist()
    row = next(row for row in rows if row["shard"] == shard and row["outcome"] == "ok")
    path = RAW / f"{shard:05d}.tar"
    content = bytearray(path.read_bytes())
    content[row["offset"] + 30] ^= 1
    path.write_bytes(bytes(content))
    return str(row["uid"])


def test_every_row_has_its_signals() -> None:
    _, provenance = run()
    rows = measured()
    assert set(rows) == {pair.uid for pair in PAIRS}
    errors = [rows[pair.uid]["error"] for pair in PAIRS]
    assert errors == [None] * 6 + ["truncated", "undecodable", "too_many_pixels", "http_404", "opt_out"]
    assert [rows[pair.uid]["format"] for pair in PAIRS[:4]] == ["png", "jpg", "webp", "gif"]
    for pair in PAIRS:
        row, known = rows[pair.uid], pair.picture is not None
        assert (row["sha256"], row["bytes"]) == (
            (digests.sha256_bytes(pair.picture), len(pair.picture)) if pair.picture is not None else (None, None)
        )
        assert (row["blur"] is not None) == (row["error"] is None)
        assert known or not any(row[name] is not None for name in PICTURE_COLUMNS)
        assert (row["caption"], row["caption_chars"]) == (pair.caption, len(pair.caption))
        assert (row["host"], row["tld"], row["url_chars"]) == ("a.test", "test", len(pair.url))
        assert row["given"] == '{"similarity": 0.25}'
    counts = provenance["counts"]
    assert (counts["rows_in"], counts["kept"], counts["dropped"]) == (11, 6, {})
    assert counts["failed"] == dict.fromkeys(["http_404", "opt_out", "too_many_pixels", "truncated", "undecodable"], 1)


def test_of_a_row_taken_down_only_hashes_stay() -> None:
    gone = PAIRS[-1].uid
    write_source(SOURCE, PAIRS, taken_down=[gone])
    run()
    left = {name for name, value in measured()[gone].items() if value is not None}
    assert left == {"uid", "url_sha256", "host_sha256", "error"}


def test_bytes_are_the_same_after_a_killed_run() -> None:
    expected = run()
    # a real kill -9 in the middle of the second shard: a receipt, a finished part and a half-written one are left
    code = (
        "import os, signal; from pathlib import Path; from pipelines import measure; from lineage import records\n"
        "write = records.pq.write_table\n"
        "def killed(table, path, **options):\n"
        "    write(table, path, **options)\n"
        "    '00001' in path.name and path.parent.name == 'out' and os.kill(os.getpid(), signal.SIGKILL)\n"
        "records.pq.write_table = killed\n"
        f"measure.main(Path('{SOURCE}'), Path('{RAW}'), Path('{OUT}'), Path('{PROVENANCE}'))"
    )
    write_params()
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == -9
    (scratch,) = [path for path in Path(".work").glob("measure-*") if path.is_dir()]
    left = [path.name for path in scratch.rglob("*") if path.is_file()]
    assert any(name.endswith(".partial") for name in left)
    assert "00000.json" in left
    # and another process finishes it, with other hash seeds, threads and locale
    other = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-m", "pipelines.measure", str(SOURCE), str(RAW), str(OUT), str(PROVENANCE)]
    done = subprocess.run(command, env=other, capture_output=True, text=True, check=True)
    assert "measure@s1: 11 in, 6 kept, 1 http_404" in done.stderr
    assert (contents(OUT), json.loads(PROVENANCE.read_text())) == expected
    assert not scratch.exists()


def test_a_snapshot_of_no_rows_has_no_signals() -> None:
    write_source(SOURCE, [])
    write_raw(RAW, [])
    _, provenance = run()
    assert records.read_table(OUT, records.SIGNALS).num_rows == 0
    assert provenance["counts"]["rows_in"] == 0


@pytest.mark.parametrize("missing", [False, True])
def test_a_damaged_shard_is_named_and_the_store_gives_the_same_bytes(
    missing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    expected, account = run()
    write_store()
    damage()
    if missing:
        (RAW / "00001.tar").unlink()
    left = contents(RAW)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "clipline"):
        made, provenance = run()
    assert (made, provenance["counts"]) == (expected, account["counts"])
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "clipline"]
    assert warning.startswith("data/raw/s1/00001.tar: ")
    assert "`dvc checkout data/raw/s1`" in warning
    assert contents(RAW) == left


@pytest.mark.parametrize("stored", [False, True])
def test_a_picture_that_is_nowhere_fails_and_the_rest_goes_on(stored: bool) -> None:
    run()
    before = measured()
    if stored:
        write_store()
        for segment in Path(store.root()).rglob("*.warc.gz"):
            segment.write_bytes(segment.read_bytes()[:100])
    lost = damage()
    _, provenance = run()
    after = measured()
    assert after[lost]["error"] == "raw_damaged"
    assert [after[lost][name] for name in PICTURE_COLUMNS] == [None] * len(PICTURE_COLUMNS)
    assert after[lost]["sha256"] == before[lost]["sha256"]
    assert {uid: row for uid, row in after.items() if uid != lost} == {
        uid: row for uid, row in before.items() if uid != lost
    }
    assert provenance["counts"]["failed"]["raw_damaged"] == 1


def test_source_and_raw_data_must_belong_together() -> None:
    for pairs in (PAIRS[1:], [*PAIRS[1:], RawPair(url="https://a.test/other", caption="another")]):
        write_source(SOURCE, pairs)
        with pytest.raises(ValueError, match=r"data/raw/s1: its ledger does not hold the rows of data/source/s1"):
            run()


def test_rows_of_a_shard_lie_together() -> None:
    write_raw(RAW, PAIRS, seed=7)
    with pytest.raises(ValueError, match=r"ledger\.parquet: the rows of a shard do not lie together"):
        run()
