"""The index holds the kept pairs and nothing else, row for row with its metadata, in the same bytes every time."""

import json
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from lineage import records
from pipelines import index, inference
from tests.builders import PARAMS, contents, enter, write_kept, write_params

SIGNALS, EMBEDDINGS, SELECTION, OUT = (Path(f"data/{name}") for name in ("signals", "embeddings", "selection", "index"))
PROVENANCE = Path("provenance/index/all.json")
INDEX: dict[str, Any] = {"kind": "flat", "num_lists": 4, "num_probes": 4}
D = 8


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARAMS, "index", INDEX)
    monkeypatch.setitem(PARAMS, "snapshots", ["s1", "s2"])
    enter(tmp_path, monkeypatch)
    write_snapshot("s1", {0: range(0, 20), 1: range(20, 37)})
    write_snapshot("s2", {0: range(100, 105)})
    write_snapshot("old", {0: range(200, 205)})


def vector(number: int, side: str) -> np.ndarray:
    drawn = np.random.default_rng([number, side == "text"]).normal(size=D)
    found: np.ndarray = (drawn / np.linalg.norm(drawn)).astype(np.float16)
    return found


def uid(number: int) -> str:
    return f"{number:032x}"


def write_snapshot(name: str, parts: dict[int, range]) -> None:
    """Every third pair of a snapshot is dropped by select, and 7 was kept without an embedding."""
    for part, numbers in parts.items():
        embedded = [number for number in numbers if number != 7]
        rows = [
            {"uid": uid(number), "clip_score": number / 1000, "row": embedded.index(number)}
            if number in embedded
            else {"uid": uid(number), "reason": "not_embedded"}
            for number in numbers
        ]
        folder = EMBEDDINGS / name
        records.write_table(records.rows_table(rows, records.EMBEDDINGS), folder / f"{part:05d}.parquet")
        for side in index.SIDES:
            vectors = np.stack([vector(number, side) for number in embedded])
            inference.save_vectors(vectors, folder / f"{part:05d}.{side}.npy")
        captions = [{"uid": uid(number), "caption": f"drawing {number}"} for number in numbers]
        records.write_table(records.rows_table(captions, records.SIGNALS), SIGNALS / name / f"{part:05d}.parquet")
    kept = [number for numbers in parts.values() for number in numbers if number % 3]
    write_kept(SELECTION / name / "kept.parquet", {uid(n): "val" if n % 5 == 0 else "train" for n in kept})


def run(**changes: Any) -> dict[str, bytes]:
    write_params(index=changes)
    index.main(SIGNALS, EMBEDDINGS, SELECTION, OUT, PROVENANCE)
    return contents(OUT)


KEPT = [n for n in [*range(37), *range(100, 105)] if n % 3 and n != 7]


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_row_i_of_the_metadata_describes_vector_i(kind: str) -> None:
    made = run(kind=kind)
    assert set(made) == {"image.index", "text.index", "metadata/metadata_0.parquet", "indices_paths.json"}
    rows = records.read_table(OUT / "metadata", index.METADATA).to_pylist()
    assert [row["uid"] for row in rows] == [uid(number) for number in KEPT]
    assert rows[3] == {"uid": uid(5), "snapshot": "s1", "split": "val", "caption": "drawing 5", "clip_score": 0.005}
    assert {row["snapshot"] for row in rows} == {"s1", "s2"}
    for side in index.SIDES:
        found = faiss.read_index(str(OUT / f"{side}.index"))
        queries = np.stack([vector(number, side) for number in KEPT]).astype(np.float32)
        similarity, rows_found = found.search(queries, 2)
        assert rows_found[:, 0].tolist() == list(range(len(KEPT)))
        np.testing.assert_allclose(similarity[:, 0], 1, atol=2e-3)
        assert (similarity[:, 1] < 0.999).all()
    assert json.loads(made["indices_paths.json"]) == {"clipline": "data/index"}


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_a_second_run_makes_the_same_bytes(kind: str) -> None:
    assert run(kind=kind) == run(kind=kind)


def test_the_account() -> None:
    run()
    counts = json.loads(PROVENANCE.read_text())["counts"]
    assert (counts["rows_in"], counts["kept"], counts["failed"]) == (len(KEPT) + 1, len(KEPT), {"not_embedded": 1})


def test_what_the_params_do_not_list_is_pruned() -> None:
    run()
    assert not (EMBEDDINGS / "old").exists()


def test_nothing_kept_is_nothing_to_index() -> None:
    for name in ("s1", "s2"):
        write_kept(SELECTION / name / "kept.parquet", {})
    with pytest.raises(ValueError, match="no kept pair has an embedding"):
        run()
    assert not OUT.exists()


def test_more_lists_than_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match=rf"{len(KEPT)} kept pairs are fewer than index.num_lists = 1000"):
        run(kind="ivf", num_lists=1000)
    with pytest.raises(ValueError, match=r"index: num_probes must be in 1..num_lists = 4, not 5"):
        run(num_probes=5)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    run()  # of an ivf index faiss says where the lists get too few vectors each
    assert capfd.readouterr() == ("", "")
