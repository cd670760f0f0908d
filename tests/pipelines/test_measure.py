"""Measure gives every ledger row its signals, in the same bytes however it runs; damage names the shard."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lineage import records
from pipelines import measure
from tests.builders import RawPair, contents, enter, make_pairs, make_picture, write_params, write_raw

RAW, OUT, PROVENANCE = Path("data/raw/s1"), Path("data/signals/s1"), Path("provenance/measure/s1.json")
PAIRS = [
    *make_pairs(6),
    RawPair(url="https://a.test/cut", caption="cut short", picture=make_picture(9)[:-300]),
    RawPair(url="https://a.test/html", caption="a page", picture=b"<html>"),
    RawPair(url="https://a.test/bomb", caption="large", picture=make_picture(9, (101, 100))),
    RawPair(url="https://a.test/404", caption="gone"),
    RawPair(url="https://a.test/out", caption="opted out", reason="opt_out"),
]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)


def run(**changes: Any) -> tuple[dict[str, bytes], dict[str, Any]]:
    write_params(**changes)
    measure.main(RAW, OUT, PROVENANCE)
    return contents(OUT), json.loads(PROVENANCE.read_text())


def test_every_row_has_its_signals() -> None:
    write_raw(RAW, PAIRS)
    _, provenance = run()
    rows = {row["uid"]: row for row in records.read_table(OUT, records.SIGNALS).to_pylist()}
    assert set(rows) == {pair.uid for pair in PAIRS}
    errors = [rows[pair.uid]["error"] for pair in PAIRS]
    assert errors == [None] * 6 + ["truncated", "undecodable", "too_many_pixels", "http_404", "opt_out"]
    assert [rows[pair.uid]["format"] for pair in PAIRS[:4]] == ["png", "jpg", "webp", "gif"]
    assert [rows[pair.uid]["sha256"] is None for pair in PAIRS] == [False] * 9 + [True] * 2
    assert rows[PAIRS[6].uid]["caption_chars"] == len("cut short")
    counts = provenance["counts"]
    assert (counts["rows_in"], counts["kept"], counts["dropped"]) == (11, 6, {})
    assert counts["failed"] == dict.fromkeys(["http_404", "opt_out", "too_many_pixels", "truncated", "undecodable"], 1)


def test_bytes_are_the_same_on_two_workers_and_after_a_killed_run() -> None:
    write_raw(RAW, PAIRS)
    expected = run()
    assert run(runner={"num_workers": 2, "running_mode": "multi_processing"}) == expected
    # a real kill -9 in the middle of the second shard: a receipt, a finished part and a half-written one are left
    code = (
        "import os, signal; from pathlib import Path; from pipelines import measure; from lineage import records\n"
        "write = records.pq.write_table\n"
        "def killed(table, path, **options):\n"
        "    write(table, path, **options)\n"
        "    '00001' in path.name and os.kill(os.getpid(), signal.SIGKILL)\n"
        "records.pq.write_table = killed\n"
        f"measure.main(Path('{RAW}'), Path('{OUT}'), Path('{PROVENANCE}'))"
    )
    write_params()
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == -9
    (scratch,) = [path for path in Path(".work").glob("measure-*") if path.is_dir()]
    left = [path.name for path in scratch.rglob("*") if path.is_file()]
    assert any(name.endswith(".partial") for name in left)
    assert "00000.json" in left
    # and another process finishes it, with other hash seeds, threads and locale
    other = {**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-m", "pipelines.measure", str(RAW), str(OUT), str(PROVENANCE)]
    done = subprocess.run(command, env=other, capture_output=True, text=True, check=True)
    assert "measure@s1: 11 in, 6 kept, 1 http_404" in done.stderr
    assert (contents(OUT), json.loads(PROVENANCE.read_text())) == expected
    assert not scratch.exists()


def test_a_snapshot_of_no_rows_has_no_signals() -> None:
    write_raw(RAW, [])
    _, provenance = run()
    assert records.read_table(OUT, records.SIGNALS).num_rows == 0
    assert provenance["counts"]["rows_in"] == 0


def test_a_flipped_byte_names_the_shard_and_once_mended_it_completes() -> None:
    write_raw(RAW, PAIRS)
    row = next(row for row in records.read_table(RAW / "ledger.parquet").to_pylist() if row["shard"] == 1)
    path = RAW / "00001.tar"
    good = path.read_bytes()
    place = row["offset"] + 30
    path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    with pytest.raises(ValueError, match=rf"00001\.tar: the bytes of {row['uid']}\..* differ from the ledger's sha256"):
        run()
    assert not OUT.exists()
    assert not PROVENANCE.exists()
    path.write_bytes(good)
    assert len(run()[0]) == 3


def test_a_missing_shard_is_one_error() -> None:
    write_raw(RAW, PAIRS)
    (RAW / "00002.tar").unlink()
    with pytest.raises(ValueError, match=r"data/raw/s1/00002\.tar: this shard is missing"):
        run()
