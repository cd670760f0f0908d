"""Every test picture of a set gets a row and a vector, the same as embed would give it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lineage import records
from pipelines import embed_tests, inference
from tests.builders import PARAMS, contents, enter
from tests.pipelines.models import make_drawing, write_model

BENCHMARK, SCORER, OUT = Path("data/benchmarks/tiny"), Path("models/scorer"), Path("data/test_embeddings/tiny")
PROVENANCE = Path("provenance/embed_tests/tiny.json")
PICTURES = [make_drawing(n) for n in range(6)]
PARTS = {"novel": [0, 1, 2, 1], "seen": [3, 4, 0], "train": [5]}
"""Picture numbers of each part: 1 stands in `novel` under two names, 0 in two parts; train is no test part."""


def uid(number: int) -> str:
    return hashlib.sha256(PICTURES[number]).hexdigest()[:32]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARAMS, "embed", {"batch_size": 4, "threads": 1, "device": "cpu"})
    enter(tmp_path, monkeypatch)
    for part, numbers in PARTS.items():
        rows = [{"uid": uid(n), "image": PICTURES[n], "name": f"name {place}"} for place, n in enumerate(numbers)]
        folder = BENCHMARK / ("train" if part == "train" else "test")
        records.write_table(pa.Table.from_pylist(rows), folder / f"{part}.parquet")
    write_model(SCORER)


def run() -> tuple[list[dict[str, Any]], np.ndarray]:
    embed_tests.main(BENCHMARK, SCORER, OUT, PROVENANCE)
    rows = records.read_table(OUT / "embeddings.parquet", embed_tests.TEST_EMBEDDINGS).to_pylist()
    return rows, np.load(OUT / "image.npy")


def test_every_row_of_the_test_parts_has_its_pictures_vector() -> None:
    rows, vectors = run()
    expected = sorted((uid(n), part) for part in ("novel", "seen") for n in PARTS[part])
    assert [(row["uid"], row["part"]) for row in rows] == expected
    assert [row["row"] for row in rows] == list(range(7))
    assert (vectors.shape, vectors.dtype) == ((7, 16), np.float16)
    settings = inference.settings(SCORER, 1, 1, "cpu")
    for row, vector in zip(rows, vectors, strict=True):
        picture = next(picture for picture in PICTURES if hashlib.sha256(picture).hexdigest().startswith(row["uid"]))
        sample = inference.Sample(row["uid"], picture, b"")
        alone = inference.embed([sample], settings, Path("work"), with_text=False)
        np.testing.assert_allclose(vector, alone.image_ND[0], rtol=2.0**-10, atol=1e-5)
    counts = json.loads(PROVENANCE.read_text())["counts"]
    assert (counts["rows_in"], counts["kept"], counts["parts"]) == (7, 7, {"novel": 4, "seen": 3})


def test_a_second_run_makes_the_same_bytes() -> None:
    run()
    first = contents(OUT)
    run()
    assert contents(OUT) == first
    assert set(first) == {"embeddings.parquet", "image.npy"}


def test_a_picture_that_inference_leaves_out_is_counted() -> None:
    rows = [{"uid": uid(0), "image": PICTURES[0]}, {"uid": "0" * 32, "image": b"no picture"}]
    records.write_table(pa.Table.from_pylist(rows), BENCHMARK / "test/novel.parquet")
    found, vectors = run()
    assert "0" * 32 not in {row["uid"] for row in found}
    assert len(found) == len(vectors) == 4
    counts = json.loads(PROVENANCE.read_text())["counts"]
    assert (counts["rows_in"], counts["kept"], counts["failed"]) == (5, 4, {"not_embedded": 1})


def test_a_set_without_test_parts_is_an_error() -> None:
    for path in (BENCHMARK / "test").glob("*.parquet"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="data/benchmarks/tiny/test: no test part there"):
        run()


def test_a_set_without_pictures_has_an_empty_table_as_wide_as_the_others() -> None:
    shutil.rmtree(BENCHMARK / "test")
    with pytest.raises(FileNotFoundError, match="no test part there"):
        run()
    records.write_table(pa.table({"uid": pa.array([], pa.string())}), BENCHMARK / "test_hashes.parquet")
    rows, vectors = run()
    assert rows == []
    assert (vectors.shape, vectors.dtype) == ((0, 16), np.float16)
    assert json.loads(PROVENANCE.read_text())["counts"]["rows_in"] == 0
