"""What a revision attests: records by digests, inputs as the outs they consist of, content checked before its use."""

import json
from pathlib import Path
from typing import Any

import pytest

from lineage import digests, runs
from lineage.exports import attested, ingredients, model_cards
from tests.lineage.exports import small


def paths(pieces: list[attested.Piece]) -> list[str]:
    return [piece.path for piece in pieces]


def test_a_parent_folder_is_the_outs_in_it_only_where_they_add_up(checkout: Path) -> None:
    state = attested.load(checkout, None)
    assert paths(state.inputs("dataset")) == ["data/shards/s1"]
    lock = (checkout / "dvc.lock").read_text()
    stale = state.graph.instances["dataset"].deps["data/shards"]
    (checkout / "dvc.lock").write_text(lock.replace(stale, "0" * 32 + ".dir"))
    state = attested.load(checkout, None)
    assert state.inputs("dataset") == [attested.Piece(path="data/shards", digest="0" * 32 + ".dir")]


def test_outputs_name_the_files_that_others_read_on_their_own(checkout: Path) -> None:
    state = attested.load(checkout, None)
    assert paths(state.outputs("source")) == [
        "data/source/s1",
        "provenance/source/all.json",
        "data/source/s1/source.parquet",
    ]
    assert state.outputs("source")[-1].digest == digests.md5_file(checkout / "data/source/s1/source.parquet")


def test_of_several_records_of_the_same_outs_the_newest_counts(checkout: Path) -> None:
    (first,) = runs.read("pack")
    assert attested.load(checkout, None).record("pack") == first | {"sha256": _digest(checkout, 0)}
    runs.append("pack", first | {"started": small.STARTED + 500})
    runs.append("pack", first | {"started": small.STARTED + 900, "outs": {}})
    found = attested.load(checkout, None).record("pack")
    assert found is not None
    assert (found["started"], found["sha256"]) == (small.STARTED + 500, _digest(checkout, 1))


def test_a_record_of_other_inputs_does_not_count(checkout: Path) -> None:
    (record,) = runs.read("pack")
    (checkout / "runs" / "pack.jsonl").unlink()
    runs.append("pack", record | {"deps": {"models/scorer": "0" * 32}})
    assert "pack" in attested.load(checkout, None).unattested()


def test_damaged_content_is_not_used(checkout: Path) -> None:
    small.held(checkout, "data/dataset/root.json").write_text("{}")
    state = attested.load(checkout, None)
    assert state.place("data/dataset/root.json") == checkout / "data/dataset/root.json"
    (checkout / "data/dataset/root.json").write_text("{}")
    assert state.place("data/dataset/root.json") is None
    assert state.document("data/dataset/root.json") is None


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"kept": 1, "failed": {"dns": 2}}, {"kept": 1, "failed.dns": 2}),
        ({"licenses": {"http://a.example": 1}, "digest": "http://b.example"}, {}),
        ([1], {}),
        (None, {}),
    ],
)
def test_counts_are_numbers_and_reasons(checkout: Path, counts: Any, told: dict[str, int]) -> None:
    state = attested.load(checkout, None)
    state.provenance = lambda _: {"counts": counts}  # type: ignore[assignment]
    assert state.counts("pack") == told


def test_flat_and_text() -> None:
    assert dict(attested.flat({"b": {"c": [1, 2]}, "a": None})) == {"a": None, "b.c": [1, 2]}
    assert [attested.text(value) for value in ("x", 1.0, [1, "é"], None)] == ["x", "1.0", '[1, "é"]', "null"]


def test_ingredients_leave_out_what_never_ran(checkout: Path) -> None:
    lines = (checkout / "params.yaml").read_text().replace("[0, 1]", "[0, 1, 2]")
    (checkout / "params.yaml").write_text(lines)
    found = ingredients.ingredients(attested.load(checkout, None))
    assert sorted(found.models) == ["scorer", "train@clip-0", "train@clip-1"]
    assert found.rests_on["models/clip-0"] == ["data/dataset"]
    assert found.rests_on["data/dataset"] == ["data/lists/s1", "models/scorer"]


def test_model_cards_of_a_model_that_is_evaluated_by_nobody(checkout: Path) -> None:
    left_out: dict[str, list[str]] = {}
    made = model_cards.card(attested.load(checkout, None), "scorer", ["data/lists/s1"], left_out)
    assert made["modelParameters"]["datasets"] == [{"ref": "data/lists/s1"}]
    assert "quantitativeAnalysis" not in made
    assert left_out == {"metrics: none made, or not here": ["models/scorer"]}


def _digest(checkout: Path, number: int) -> str:
    line = (checkout / "runs" / "pack.jsonl").read_text().splitlines()[number]
    assert json.loads(line)["stage"] == "pack"
    return digests.sha256_bytes(line.encode())
