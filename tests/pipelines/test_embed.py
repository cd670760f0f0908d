"""Every pair that was measured gets a row and, where inference took it, vectors: the same bytes however it was run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineage import records
from pipelines import embed, inference
from tests.builders import PARAMS, RawPair, contents, enter, write_params, write_raw
from tests.pipelines.models import make_drawing, write_model

RAW, SIGNALS, SCORER, OUT = (
    Path("data/raw/s1"),
    Path("data/signals/s1"),
    Path("models/scorer"),
    Path("data/embeddings/s1"),
)
PROVENANCE = Path("provenance/embed/s1.json")
EMBED: dict[str, Any] = {"batch_size": 3, "threads": 1, "device": "cpu"}
UNMEASURED = RawPair(url="https://a.test/x", caption="cannot be read", picture=make_drawing(90))
LEFT_OUT = RawPair(url="https://a.test/y", caption="no picture at all", picture=b"\x89PNG\r\n\x1a\nrubbish")
GONE = RawPair(url="https://a.test/404", caption="gone")
PAIRS = [
    *(RawPair(url=f"https://a.test/{n}", caption=f"{n} drawings", picture=make_drawing(n)) for n in range(9)),
    *(UNMEASURED, LEFT_OUT, GONE),
]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARAMS, "embed", EMBED)
    enter(tmp_path, monkeypatch)
    write_raw(RAW, PAIRS)
    write_measured()
    write_model(SCORER)


def write_measured() -> None:
    """The columns of data/signals/S that embed reads, one part a raw shard."""
    errors = {UNMEASURED.uid: "undecodable", GONE.uid: "http_404"}
    ledger = records.read_table(RAW / "ledger.parquet").to_pylist()
    for shard in {row["shard"] for row in ledger}:
        rows = [{"uid": r["uid"], "error": errors.get(r["uid"])} for r in ledger if r["shard"] == shard]
        records.write_table(records.rows_table(rows, records.SIGNALS), SIGNALS / f"{shard:05d}.parquet")


def run(**changes: Any) -> dict[str, bytes]:
    write_params(**changes)
    embed.main(RAW, SIGNALS, SCORER, OUT, PROVENANCE)
    return contents(OUT)


def table() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = records.read_table(OUT, records.EMBEDDINGS).to_pylist()
    return rows


def test_a_part_has_a_row_for_each_measured_pair_and_a_vector_for_each_embedded_one() -> None:
    made = run()
    parts = sorted(path.stem for path in SIGNALS.glob("*.parquet"))
    assert set(made) == {f"{part}.{kind}" for part in parts for kind in ("parquet", "image.npy", "text.npy")}
    assert {row["uid"] for row in table()} == {pair.uid for pair in PAIRS} - {UNMEASURED.uid, GONE.uid}
    for part in parts:
        rows = records.read_table(OUT / f"{part}.parquet", records.EMBEDDINGS).to_pylist()
        image, text = np.load(OUT / f"{part}.image.npy"), np.load(OUT / f"{part}.text.npy")
        assert (image.dtype, text.dtype) == (np.float16, np.float16)
        embedded = [row for row in rows if row["row"] is not None]
        assert [row["uid"] for row in rows] == sorted(row["uid"] for row in rows)
        assert [row["row"] for row in embedded] == list(range(len(embedded))) == list(range(len(image)))
        np.testing.assert_allclose(np.linalg.norm(image.astype(np.float32), axis=1), 1, atol=2e-3)
        cosine = (image.astype(np.float64) * text.astype(np.float64)).sum(axis=1)
        np.testing.assert_allclose([row["clip_score"] for row in embedded], cosine, atol=2e-3)
        assert all(row["clip_score"] == round(row["clip_score"], 6) for row in embedded)


def test_vectors_are_those_of_the_pair_the_row_names() -> None:
    run()
    scorer = inference.settings(SCORER, 1, 1, "cpu")
    for row in [row for row in table() if row["row"] is not None][::4]:
        pair = next(pair for pair in PAIRS if pair.uid == row["uid"])
        assert pair.picture is not None
        sample = inference.Sample(pair.uid, pair.picture, pair.caption.encode())
        alone = inference.embed([sample], scorer, Path("work"), with_text=True)
        assert inference.cosines(alone.image_ND, alone.text_ND)[0] == pytest.approx(row["clip_score"], abs=2e-3)


def test_what_inference_leaves_out_has_a_reason_and_is_counted() -> None:
    run()
    left_out = [row for row in table() if row["row"] is None]
    assert left_out == [{"uid": LEFT_OUT.uid, "clip_score": None, "reason": "not_embedded", "row": None}]
    assert {row["reason"] for row in table() if row["row"] is not None} == {None}
    counts = json.loads(PROVENANCE.read_text())["counts"]
    assert (counts["rows_in"], counts["kept"], counts["failed"]) == (10, 9, {"not_embedded": 1})


def test_a_picture_that_scaling_would_blow_up_is_left_out() -> None:
    """1 x 500,000 pixels are 1.5 kB of PNG, and gigabytes once the short side is as long as the scorer wants it."""
    sizes = {"as long as may be": (6000, 30), "longer": (6001, 30), "upright": (30, 6001)}
    pairs = [
        RawPair(url=f"https://a.test/{number}", caption=caption, picture=make_drawing(number, size))
        for number, (caption, size) in enumerate(sizes.items())
    ]
    write_raw(RAW, pairs)
    for part in SIGNALS.glob("*.parquet"):
        part.unlink()
    rows = [dict(zip(("width", "height"), sizes[pair.caption], strict=True)) | {"uid": pair.uid} for pair in pairs]
    records.write_table(records.rows_table(rows, records.SIGNALS), SIGNALS / "00000.parquet")
    run()
    reasons = {pair.caption: row["reason"] for pair in pairs for row in table() if row["uid"] == pair.uid}
    assert reasons == {"as long as may be": None, "longer": "not_embedded", "upright": "not_embedded"}
    assert json.loads(PROVENANCE.read_text())["counts"]["failed"] == {"not_embedded": 2}


def test_bytes_do_not_depend_on_the_order_of_the_raw_pairs() -> None:
    write_raw(RAW, PAIRS, rows_per_shard=20)
    for part in SIGNALS.glob("*.parquet"):
        part.unlink()
    write_measured()
    expected = run()
    write_raw(RAW, PAIRS, rows_per_shard=20, seed=3)
    assert run() == expected


@pytest.mark.parametrize(
    "mode",
    [
        "multi_threading",
        pytest.param("multi_processing", marks=pytest.mark.slow),
    ],  # each process imports clip-retrieval
)
def test_bytes_do_not_depend_on_the_workers(mode: str) -> None:
    expected = run()
    assert run(runner={"num_workers": 2, "running_mode": mode}) == expected


@pytest.mark.slow  # two processes import clip-retrieval
def test_bytes_are_the_same_after_a_kill_and_finished_parts_are_not_made_again() -> None:
    expected = run()
    code = (
        "import os, signal; from pathlib import Path; from pipelines import embed, inference\n"
        "save = inference.save_vectors\n"
        "def killed(vectors, path):\n"
        "    save(vectors, path)\n"
        "    path.name == '00001.image.npy' and os.kill(os.getpid(), signal.SIGKILL)\n"
        "inference.save_vectors = killed\n"
        f"embed.main(Path('{RAW}'), Path('{SIGNALS}'), Path('{SCORER}'), Path('{OUT}'), Path('{PROVENANCE}'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    (scratch,) = [path for path in Path(".work").glob("embed-*") if path.is_dir()]
    finished = {path.stem for path in (scratch / "receipts").glob("*.json")}
    assert "00001" not in finished
    assert (scratch / "out/00001.image.npy").is_file()
    before = {name: (scratch / f"out/{name}.parquet").stat().st_mtime_ns for name in finished}
    assert run() == expected
    assert {name: (OUT / f"{name}.parquet").stat().st_mtime_ns for name in finished} == before


def test_a_damaged_raw_shard_is_named() -> None:
    row = next(row for row in records.read_table(RAW / "ledger.parquet").to_pylist() if row["uid"] == PAIRS[0].uid)
    path = RAW / f"{row['shard']:05d}.tar"
    content = bytearray(path.read_bytes())
    content[row["offset"] + 20] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=rf"data/raw/s1/{path.name}: .*damaged"):
        run()
    assert not OUT.exists()


def test_signals_and_raw_data_must_belong_together() -> None:
    rows = [{"uid": "f" * 32}]
    records.write_table(records.rows_table(rows, records.SIGNALS), SIGNALS / "00000.parquet")
    with pytest.raises(ValueError, match=r"00000\.parquet: measured pairs that data/raw/s1 did not fetch"):
        run()


def test_a_snapshot_without_a_measured_pair_is_empty() -> None:
    for path in SIGNALS.glob("*.parquet"):
        path.unlink()
    records.write_table(records.rows_table([], records.SIGNALS), SIGNALS / "00000.parquet")
    made = run()
    assert set(made) == {"00000.parquet", "00000.image.npy", "00000.text.npy"}
    assert np.load(OUT / "00000.image.npy").shape == (0, 16)


@pytest.mark.parametrize("change", [{"batch_size": 0}, {"threads": 0}])
def test_numbers_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=rf"embed: {next(iter(change))} must be >= 1"):
        run(embed=change)
