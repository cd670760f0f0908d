"""Answers of several models: cut by question, in one order, seeds and captions averaged by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cyclip_model.evaluate import PREDICTIONS
from cyclip_model.reporting import answers

ASKED = ("coco", "retrieval", "test", "text_to_image")


def row(uid: str, rank: int, label: str = "", **others: str) -> dict[str, Any]:
    asked = dict(zip(("set", "protocol", "part", "variant"), ASKED, strict=True))
    return {**asked, "uid": uid, "label": label, "prediction": "", "rank": rank, **others}


def put(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=PREDICTIONS), folder / f"{name}.parquet")


def test_questions_are_told_apart_and_rows_stand_in_one_order(tmp_path: Path) -> None:
    put(tmp_path, "clip-0", [row("b", 3, "x"), row("a", 0, "z"), row("a", 9, "y"), row("a", 5, part="train")])
    found = answers.read(tmp_path, ["clip"], [0]).found
    assert set(found) == {ASKED, ("coco", "retrieval", "train", "text_to_image")}
    one = found[ASKED]["clip"][0]
    assert (one.uids.to_pylist(), one.labels.to_pylist(), one.ranks.tolist()) == (
        ["a", "a", "b"],
        ["y", "z", "x"],
        [9, 0, 3],
    )


def test_hits_are_means_over_seeds_and_captions(tmp_path: Path) -> None:
    put(tmp_path, "clip-0", [row("a", 0, "y"), row("a", 4, "z"), row("b", 1, "x")])
    put(tmp_path, "clip-1", [row("b", 0, "x"), row("a", 0, "z"), row("a", 0, "y")])
    found = answers.hits(answers.read(tmp_path, ["clip"], [0, 1]).found[ASKED]["clip"], [1, 5])
    np.testing.assert_allclose(found[1], [0.75, 0.5])  # a: y twice, z once of four; b: once of two
    np.testing.assert_allclose(found[5], [1.0, 1.0])


def test_models_asked_about_other_rows_are_not_compared(tmp_path: Path) -> None:
    put(tmp_path, "clip-0", [row("a", 0), row("b", 0)])
    put(tmp_path, "cyclip-0", [row("a", 0), row("c", 0)])
    put(tmp_path, "xclip-0", [row("b", 2), row("a", 1)])
    found = answers.read(tmp_path, ["clip", "cyclip", "xclip"], [0])
    assert list(found.on_same_rows(ASKED)) == ["clip", "xclip"]
    assert found.on_same_rows(("no", "such", "question", "")) == {}


def test_a_model_without_any_answer_is_no_error_but_one_without_a_file_is(tmp_path: Path) -> None:
    put(tmp_path, "clip-0", [])
    assert answers.read(tmp_path, ["clip"], [0]).found == {}
    with pytest.raises(FileNotFoundError, match=r"clip-1\.parquet is missing"):
        answers.read(tmp_path, ["clip"], [0, 1])
