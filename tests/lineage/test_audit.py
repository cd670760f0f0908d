"""audit joins the records of real folders into one index, and refuses runs that do not fit together."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineage import audit, closure, files, records
from tests.lineage.audit_project import (
    ARGS,
    DATASET_DEPS,
    PARAMS,
    edit,
    lay_down,
    lay_down_trail,
    outputs,
    record,
    uid,
    verdict,
    write,
)
from tests.lineage.conftest import ENV


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_down()


def seen(model: str, snapshot: str) -> list[int]:
    """Returns how often a model was trained on each row of a trail."""
    found: list[int] = np.load(f"data/audit/exposures/{model}/{snapshot}.npy").tolist()
    return found


def beyond(model: str) -> list[tuple[str, str, int]]:
    path = Path("data/audit/exposures") / model / audit.BEYOND
    return [tuple(row.values()) for row in records.read_table(path, records.EXPOSURE).to_pylist()]


def test_exposures_are_those_of_all_models_by_row_of_the_trail() -> None:
    audit.main(*ARGS)
    assert {model: seen(model, "s1") for model in ("clip-0", "clip-1", "scorer")} == {
        "clip-0": [4, 0, 0],
        "clip-1": [2, 0, 0],
        "scorer": [0, 3, 0],
    }
    assert seen("clip-0", "s2") == [0, 0, 0]
    assert beyond("clip-0") == beyond("scorer") == []


@pytest.mark.parametrize(("count", "form"), [(255, "uint8"), (256, "uint16"), (2**16, "uint32")])
def test_counts_take_the_smallest_form_that_holds_them(count: int, form: str) -> None:
    write("models/clip-0/exposure.parquet", [{"snapshot": "s1", "uid": uid(1), "count": count}], records.EXPOSURE)
    record("train", "clip-0", ["data/dataset/root.json", "data/shards"], ["models/clip-0"])
    record("evaluate", "clip-0", ["models/clip-0", "data/benchmarks/emoji"], ["results/clip-0"])
    audit.main(*ARGS)
    assert seen("clip-0", "s1")[0] == count
    assert np.load("data/audit/exposures/clip-0/s1.npy").dtype == form


def test_the_scorer_may_see_what_is_not_kept_but_not_what_was_never_fetched() -> None:
    write("data/selection/s1/verdicts.parquet", [verdict(1), verdict(2, "http_404"), verdict(3)], records.VERDICTS)
    lay_down_trail("s1")
    with pytest.raises(ValueError, match=f"scorer: exposure.parquet names s1/{uid(2)}"):
        audit.main(*ARGS)


def inherit(*rows: tuple[str, int, int]) -> None:
    """Makes clip-1 a child that got these (snapshot, pair, count) from its parent."""
    found = [{"snapshot": snapshot, "uid": uid(number), "count": count} for snapshot, number, count in rows]
    write("models/clip-1/inherited.parquet", found, records.EXPOSURE)
    record("train", "clip-1", ["data/dataset/root.json", "data/shards"], ["models/clip-1"])
    record("evaluate", "clip-1", ["models/clip-1", "data/benchmarks/emoji"], ["results/clip-1"])


def test_a_child_is_found_by_a_picture_that_only_its_parent_saw() -> None:
    counts = [("s0", 9, 7), ("s1", 1, 2), ("s1", 2, 3)]  # of a snapshot no more listed, kept, and kept no more
    rows = [{"snapshot": snapshot, "uid": uid(number), "count": count} for snapshot, number, count in counts]
    write("models/clip-1/exposure.parquet", rows, records.EXPOSURE)
    inherit(("s0", 9, 7), ("s1", 2, 3))
    audit.main(*ARGS)
    assert beyond("clip-1") == [("s0", uid(9), 7)]
    assert seen("clip-1", "s1") == [2, 3, 0]
    assert beyond("clip-0") == []
    inherit(("s1", 2, 3))
    with pytest.raises(ValueError, match=rf"clip-1: exposure.parquet names s0/{uid(9)}, not a pair it could see"):
        audit.main(*ARGS)


@pytest.mark.parametrize(("lost", "own"), [(("s0", 9, 7), 0), (("s1", 1, 3), 2)])
def test_a_child_has_seen_no_less_than_its_parent(lost: tuple[str, int, int], own: int) -> None:
    inherit(lost)
    snapshot, number, count = lost
    message = f"clip-1: exposure.parquet has {snapshot}/{uid(number)} {own} times, the model it started from {count}"
    with pytest.raises(ValueError, match=message):
        audit.main(*ARGS)


def test_the_account_is_that_of_the_verdicts() -> None:
    audit.main(*ARGS)
    counts = files.read_json(Path("provenance/audit/all.json"))["counts"]
    assert counts["rows_in"] == 6
    assert counts["kept"] == 3
    assert counts["dropped"] == {"duplicate_exact": 1, "seen_before": 1, "too_small": 1}
    assert (counts["exposures"], counts["runs"], counts["edges"]) == (4, 24, 36)


def test_the_graph_joins_every_run_to_its_producers() -> None:
    audit.main(*ARGS)
    graph = files.read_json(Path("data/audit/graph.json"))
    assert set(graph["nodes"]) == {
        *(
            f"{name}@{snapshot}"
            for name in ("source", "download", "measure", "embed", "pack", "trail")
            for snapshot in ("s1", "s2")
        ),
        *("screen", "scorer", "select", "dataset", "index", "compare", "benchmarks@emoji", "embed_tests@emoji"),
        *(f"{name}@{model}" for name in ("train", "evaluate") for model in ("clip-0", "clip-1")),
    }
    assert graph["nodes"]["pack@s1"]["counts"]["rows_in"] == 1
    assert set(graph["roots"]) == {"data/lists/s1", "data/lists/s2", "data/sets/emoji"}
    producers = {(edge["reader"], edge["path"]): edge["producers"] for edge in graph["edges"]}
    assert producers["train@clip-1", "data/dataset/root.json"] == ["dataset"]
    assert producers["train@clip-1", "data/shards"] == ["pack@s1", "pack@s2"]
    assert producers["select", "data/signals"] == ["measure@s1", "measure@s2"]
    assert producers["pack@s2", "data/selection/s2/kept.parquet"] == ["select"]
    assert producers["dataset", "provenance/source"] == ["source@s1", "source@s2"]
    assert producers["source@s1", "data/lists/s1"] == []


def test_the_same_bytes_again_whatever_lies_beside() -> None:
    audit.main(*ARGS)
    first = outputs()
    names = [f"exposures/{model}/{name}" for model in ("clip-0", "clip-1", "scorer") for name in ("s1.npy", "s2.npy")]
    beyond_names = [f"exposures/{model}/beyond.parquet" for model in ("clip-0", "clip-1", "scorer")]
    assert set(first) == {"graph.json", *names, *beyond_names}
    for folder in ("data/trail/s9", "models/clip-9"):
        shutil.copytree(Path(folder).parent / ("clip-0" if "models" in folder else "s1"), folder)
    shutil.copy("provenance/pack/s1.json", "provenance/pack/s9.json")
    audit.main(*ARGS)
    assert outputs() == first
    assert not any(Path(path).exists() for path in ("data/trail/s9", "models/clip-9", "provenance/pack/s9.json"))


@pytest.mark.parametrize(
    ("reader", "path", "maker"),
    [
        ("provenance/download/s1.json", "data/source/s1", "source@s1"),
        ("provenance/train/clip-0.json", "data/dataset/root.json", "dataset"),
        ("provenance/train/clip-0.json", "data/shards", "pack@s1, pack@s2"),
        ("provenance/pack/s2.json", "data/selection/s2/kept.parquet", "select"),
        ("provenance/dataset/all.json", "provenance/pack", "pack@s1, pack@s2"),
    ],
)
def test_a_digest_that_is_not_the_producers_names_both(reader: str, path: str, maker: str) -> None:
    if "pack/" in reader:  # as if dataset had run after the change, so that only this edge is wrong
        edit(reader, lambda content: content["parents"].update({path: "f" * 32}))
        record("dataset", "all", DATASET_DEPS, ["data/dataset"])
    edit(reader, lambda content: content["parents"].update({path: "f" * 32}))
    name = files.read_json(Path(reader))
    with pytest.raises(ValueError, match=re.escape(f"{path}: {name['stage']}")) as caught:
        audit.main(*ARGS)
    assert f"but {maker} made" in str(caught.value)
    assert not Path("data/audit").exists()


def test_one_root_has_one_content() -> None:
    edit("provenance/measure/s1.json", lambda content: content["parents"].update({"data/lists/s1": "f" * 32}))
    with pytest.raises(ValueError, match=r"data/lists/s1: source@s1 read .*, but measure@s1 read ffff"):
        audit.main(*ARGS)


def test_a_missing_run_is_named() -> None:
    Path("provenance/train/clip-1.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"provenance/train/clip-1\.json: no such provenance file"):
        audit.main(*ARGS)


@pytest.mark.parametrize(
    ("path", "rows", "schema", "message"),
    [
        (
            "models/clip-0/exposure.parquet",
            [{"snapshot": "s1", "uid": uid(2), "count": 1}],
            records.EXPOSURE,
            f"clip-0: exposure.parquet names s1/{uid(2)}, not a pair it could see",
        ),
        (
            "models/clip-1/exposure.parquet",
            [{"snapshot": "s1", "uid": uid(1), "count": 1}] * 2,
            records.EXPOSURE,
            "clip-1: exposure.parquet names a pair twice",
        ),
    ],
)
def test_records_that_contradict_each_other_are_refused(
    path: str, rows: list[dict[str, Any]], schema: Any, message: str
) -> None:
    write(path, rows, schema)
    with pytest.raises(ValueError, match=re.escape(message)):
        audit.main(*ARGS)


def test_no_models_yet_leaves_the_scorer_alone() -> None:
    Path("params.yaml").write_text(PARAMS.replace("[clip]", "[]"))
    Path("results").rename("gone")
    edit("provenance/compare/all.json", lambda content: content.update(parents={}))
    audit.main(*ARGS)
    assert [path.name for path in Path("data/audit/exposures").iterdir()] == ["scorer"]


def test_the_command_line_is_the_one_of_dvc_yaml() -> None:
    command = [sys.executable, "-m", "lineage.audit", *map(str, ARGS)]
    env = {**ENV, "PYTHONPATH": str(closure.ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "audit@all: 6 in, 3 kept, 1 duplicate_exact, 1 seen_before, 1 too_small" in done.stderr
    assert json.loads(Path("data/audit/graph.json").read_text())["nodes"]
    Path("params.yaml").unlink()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: params.yaml: no such file")
