"""audit joins the records of real folders into one index, and refuses runs that do not fit together."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lineage import audit, closure, files, records
from tests.lineage.audit_project import (
    ARGS,
    DATASET_DEPS,
    PARAMS,
    edit,
    lay_down,
    outputs,
    place,
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


def test_pairs_hold_every_verdict_with_its_place() -> None:
    audit.main(*ARGS)
    table = records.read_table(Path("data/audit/pairs.parquet"), audit.PAIRS)
    rows = {(row.pop("snapshot"), int(row.pop("uid"), 16)): row for row in table.to_pylist()}
    assert list(rows) == [("s1", 1), ("s1", 2), ("s1", 3), ("s2", 1), ("s2", 4), ("s2", 5)]
    none = dict.fromkeys(audit.PAIRS.names[4:])
    assert rows["s1", 1] == {**none, "kept": True, "reason": "kept", "split": "train", "shard": "train/00000.tar"}
    assert rows["s1", 2] == {**none, "kept": False, "reason": "too_small", "rule": "min_side"}
    assert rows["s2", 1] == {**none, "kept": False, "reason": "seen_before"}
    duplicate = {"duplicate_of": uid(3), "duplicate_of_snapshot": "s1"}
    assert rows["s2", 4] == {**none, "kept": False, "reason": "duplicate_exact", **duplicate}


def test_exposures_are_those_of_all_models() -> None:
    audit.main(*ARGS)
    rows = records.read_table(Path("data/audit/exposures.parquet"), audit.EXPOSURES).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("clip-0", "s1", uid(1), 4),
        ("clip-0", "s1", uid(3), 0),
        ("clip-1", "s1", uid(1), 2),
        ("scorer", "s1", uid(2), 3),
    ]


def test_the_scorer_may_see_what_is_not_kept_but_not_what_was_never_fetched() -> None:
    write("data/selection/s1/verdicts.parquet", [verdict(1), verdict(2, "http_404"), verdict(3)], records.VERDICTS)
    record("select", "all", ["data/signals", "data/benchmarks"], ["data/selection"])
    record("dataset", "all", DATASET_DEPS, ["data/dataset"])
    with pytest.raises(ValueError, match=f"scorer: exposure.parquet names s1/{uid(2)}"):
        audit.main(*ARGS)


def inherit(*rows: tuple[str, int, int]) -> None:
    """Makes clip-1 a child that got these (snapshot, pair, count) from its parent."""
    found = [{"snapshot": snapshot, "uid": uid(number), "count": count} for snapshot, number, count in rows]
    write("models/clip-1/inherited.parquet", found, records.EXPOSURE)
    record("train", "clip-1", ["data/dataset/root.json", "data/shards"], ["models/clip-1"])
    record("evaluate", "clip-1", ["models/clip-1", "data/benchmarks/emoji"], ["results/clip-1"])


def test_a_child_is_found_by_a_picture_that_only_its_parent_saw() -> None:
    seen = [("s0", 9, 7), ("s1", 1, 2), ("s1", 2, 3)]  # of a snapshot no more listed, kept, and kept no more
    rows = [{"snapshot": snapshot, "uid": uid(number), "count": count} for snapshot, number, count in seen]
    write("models/clip-1/exposure.parquet", rows, records.EXPOSURE)
    inherit(("s0", 9, 7), ("s1", 2, 3))
    audit.main(*ARGS)
    index = records.read_table(Path("data/audit/exposures.parquet"), audit.EXPOSURES).to_pylist()
    assert [row["model"] for row in index if (row["snapshot"], row["uid"]) == ("s0", uid(9))] == ["clip-1"]
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
    assert (counts["exposures"], counts["runs"], counts["edges"]) == (4, 22, 30)


def test_the_graph_joins_every_run_to_its_producers() -> None:
    audit.main(*ARGS)
    graph = files.read_json(Path("data/audit/graph.json"))
    assert set(graph["nodes"]) == {
        *(
            f"{name}@{snapshot}"
            for name in ("source", "download", "measure", "embed", "pack")
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
    assert set(first) == {"pairs.parquet", "exposures.parquet", "graph.json"}
    for folder in ("data/selection/s9", "data/shards/s9", "models/clip-9"):
        shutil.copytree(Path(folder).parent / ("clip-0" if "models" in folder else "s1"), folder)
    shutil.copy("provenance/pack/s1.json", "provenance/pack/s9.json")
    audit.main(*ARGS)
    assert outputs() == first
    assert not any(Path(path).exists() for path in ("data/selection/s9", "models/clip-9", "provenance/pack/s9.json"))


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
            "data/shards/s1/manifest.parquet",
            [place(1)],
            records.MANIFEST,
            f"s1: kept.parquet has {uid(3)}, the shards' manifest has not",
        ),
        (
            "data/shards/s1/manifest.parquet",
            [place(1), place(2), place(3, "val")],
            records.MANIFEST,
            f"s1: the shards' manifest has {uid(2)}, kept.parquet has not",
        ),
        (
            "data/shards/s1/manifest.parquet",
            [place(1), place(3, "train")],
            records.MANIFEST,
            f"s1: {uid(3)} is packed into another split",
        ),
        (
            "data/shards/s1/manifest.parquet",
            [place(1), place(1), place(3, "val")],
            records.MANIFEST,
            "s1/manifest.parquet: a uid stands in it twice",
        ),
        (
            "data/selection/s2/kept.parquet",
            [{"uid": uid(4), "split": "train"}, {"uid": uid(5), "split": "train"}],
            records.KEPT,
            f"s2: kept.parquet has {uid(4)}, verdicts.parquet keeps has not",
        ),
        (
            "data/selection/s2/verdicts.parquet",
            [verdict(4, "ugly"), verdict(5)],
            records.VERDICTS,
            "reason 'ugly' is not one of",
        ),
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
    assert records.read_table(Path("data/audit/exposures.parquet"), audit.EXPOSURES).column("model").to_pylist() == [
        "scorer"
    ]


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
