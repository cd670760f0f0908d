"""The rows of one part: columns, scores, vectors, and files that do not belong together."""

from pathlib import Path

import numpy as np
import pytest

from lineage import files, records
from pipelines.selection.rows import remembered
from tests.builders import make_signals
from tests.pipelines.snapshots import failed, grey, part_rows, uid, unit


def test_columns_of_rows_with_and_without_a_picture(tmp_path: Path) -> None:
    rows = part_rows(tmp_path, [make_signals(uid(1), phash="0" * 15 + "f", thumbnail=grey(7)), failed(2, "http_404")])
    assert len(rows) == 2
    assert rows.measured().tolist() == [True, False]
    np.testing.assert_array_equal(rows.number("width"), [20, np.nan])
    hash_N, known_N = rows.hashes()
    assert (hash_N.tolist(), known_N.tolist()) == ([15, 0], [True, False])
    thumbnails, known_N = rows.thumbnails()
    assert (thumbnails.to_pylist(), known_N.tolist()) == ([grey(7), bytes(192)], [True, False])


def test_vectors_name_the_rows_they_belong_to(tmp_path: Path) -> None:
    signals = [failed(0, "http_404"), *(make_signals(uid(n)) for n in (1, 2, 3))]
    rows = part_rows(tmp_path, signals, vectors={uid(1): unit(1), uid(3): unit(0, 1)}, scores={uid(3): 0.5})
    vectors_nD, places = rows.vectors()
    assert (vectors_nD.tolist(), places.tolist()) == ([unit(1), unit(0, 1)], [1, 3])
    np.testing.assert_array_equal(rows.score("clip_score"), [np.nan, np.nan, np.nan, 0.5])


def test_embeddings_of_other_rows_are_refused(tmp_path: Path) -> None:
    rows = part_rows(tmp_path, [make_signals(uid(1))], vectors={uid(1): unit(1)})
    path = tmp_path / "embeddings/one/00000.parquet"
    other = [{"uid": uid(1), "clip_score": 0.5, "reason": None, "row": 1}]
    records.write_table(records.rows_table(other, records.EMBEDDINGS), path)
    with pytest.raises(ValueError, match=r"00000.image.npy: has 1 vectors, its table names row 1; run embed again"):
        rows.vectors()
    records.write_table(records.rows_table([{**other[0], "uid": uid(2)}], records.EMBEDDINGS), path)
    with pytest.raises(ValueError, match=r"00000.parquet: lacks pairs that measure passed"):
        rows.score("clip_score")


def test_a_thumbnail_of_another_size_is_refused(tmp_path: Path) -> None:
    rows = part_rows(tmp_path, [make_signals(uid(1), thumbnail=b"short")])
    with pytest.raises(ValueError, match="a thumbnail has not 192 bytes; measure again"):
        rows.thumbnails()


def test_what_is_remembered_is_read_again_when_the_file_changes(tmp_path: Path) -> None:
    path, read = tmp_path / "file.txt", []

    def load(path: Path) -> str:
        read.append(path)
        return path.read_text()

    files.write_text(path, "one")
    assert [remembered(load, path) for _ in range(3)] == ["one"] * 3
    files.write_text(path, "another")
    assert remembered(load, path) == "another"
    assert len(read) == 2
    with pytest.raises(FileNotFoundError, match="absent: no such file; `dvc repro` makes"):
        remembered(load, tmp_path / "absent")
