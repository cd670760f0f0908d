"""trail joins what became of every pair of a snapshot, and finds pairs by link, host, bytes and look."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lineage import digests, keys, records, trail
from tests.lineage.audit_project import lay_down, lay_down_trail, place, signal, uid, verdict, write


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lay_down()


def pairs(snapshot: str) -> dict[int, dict[str, Any]]:
    table = records.read_table(Path("data/trail") / snapshot / "pairs.parquet", trail.PAIRS)
    return {int(row.pop("uid"), 16): row for row in table.to_pylist()}


def test_every_verdict_stands_there_with_its_place() -> None:
    first, second = pairs("s1"), pairs("s2")
    assert (list(first), list(second)) == ([1, 2, 3], [1, 4, 5])
    none = dict.fromkeys(trail.PAIRS.names[1:])
    put = {"split": "train", "shard": "train/00000.tar", "offset": 0}
    assert first[1] == {**none, "kept": True, "reason": "kept", **put}
    assert first[2] == {**none, "kept": False, "reason": "too_small", "rule": "min_side"}
    assert first[3] == {**none, "kept": True, "reason": "kept", "split": "val", "shard": "val/00000.tar", "offset": 0}
    assert second[1] == {**none, "kept": False, "reason": "seen_before"}
    duplicate = {"duplicate_of": uid(3), "duplicate_of_snapshot": "s1"}
    assert second[4] == {**none, "kept": False, "reason": "duplicate_exact", **duplicate}


def test_rows_are_found_by_uid_link_and_bytes() -> None:
    folder = Path("data/trail/s2")
    found = {name: keys.load(folder, name) for name in trail.DIGESTS}
    for row, number in enumerate((1, 4, 5)):
        described = signal(number)
        for name, column in trail.DIGESTS.items():
            assert found[name].find(described[column]).tolist() == [row]
    assert found["url"].find(digests.sha256_bytes(b"url 2")).tolist() == []


def test_hosts_stand_by_number_of_rows_with_their_rows() -> None:
    table = records.read_table(Path("data/trail/s2/hosts.parquet"), trail.HOSTS).to_pylist()
    rows = np.load("data/trail/s2/host.rows.npy")
    assert [(row["host"], rows[row["first"] : row["first"] + row["rows"]].tolist()) for row in table] == [
        ("h1.test", [0, 2]),
        ("h0.test", [1]),
    ]


def test_a_host_whose_rows_were_all_opted_out_is_a_digest_alone() -> None:
    batches = [
        {"host": ["a.test", None, "b.test"], "host_sha256": ["a", "a", "b"]},
        {"host": [None, "b.test", None], "host_sha256": ["c", "b", "b"]},
    ]
    schema = pa.schema([("host", pa.string()), ("host_sha256", pa.string())])
    table, rows = trail.hosts(pa.table(batch, schema=schema) for batch in batches)
    assert table.to_pylist() == [
        {"host": "b.test", "host_sha256": "b", "first": 0, "rows": 3},
        {"host": "a.test", "host_sha256": "a", "first": 3, "rows": 2},
        {"host": None, "host_sha256": "c", "first": 5, "rows": 1},
    ]
    assert rows.tolist() == [2, 4, 5, 0, 1, 3]


def test_looks_are_those_of_the_rows_that_have_a_picture() -> None:
    assert np.load("data/trail/s1/looks.npy").tolist() == [1, 3]
    assert np.load("data/trail/s1/looked.npy").tolist() == [0, 2]


def test_the_bytes_depend_on_no_row_group_or_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in Path("data/trail/s2").iterdir()}

    expected = made()
    numbers = [1, 4, 5]
    shutil.rmtree("data/signals/s2")
    for part, number in enumerate(numbers):
        write(f"data/signals/s2/{part:05}.parquet", [signal(number)], records.SIGNALS)
    verdicts = records.read_table(Path("data/selection/s2/verdicts.parquet"))
    with monkeypatch.context() as patched:
        patched.setattr(records, "ROWS_PER_GROUP", 1)
        records.write_table(verdicts, Path("data/selection/s2/verdicts.parquet"))
    lay_down_trail("s2")
    assert made() == expected


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
            "data/shards/s1/manifest.parquet: a uid stands in it twice",
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
            "data/signals/s1/00000.parquet",
            [signal(1), signal(2)],
            records.SIGNALS,
            f"s1: verdicts.parquet has {uid(3)}, the signals has not",
        ),
        (
            "data/signals/s1/00001.parquet",
            [signal(2)],
            records.SIGNALS,
            "data/signals/s1/00001.parquet: its rows are not sorted by uid",
        ),
        (
            "data/signals/s1/00000.parquet",
            [signal(1), signal(2), signal(3, url_sha256="nonsense")],
            records.SIGNALS,
            "'nonsense' is no digest of 32 hex digits",
        ),
    ],
)
def test_records_that_contradict_each_other_are_refused(
    path: str, rows: list[dict[str, Any]], schema: Any, message: str
) -> None:
    write(path, rows, schema)
    with pytest.raises(ValueError, match=re.escape(message)):
        lay_down_trail(path.split("/")[2])


def test_a_snapshot_without_a_row_has_an_empty_trail() -> None:
    for path, schema in (
        ("data/signals/s1/00000.parquet", records.SIGNALS),
        ("data/selection/s1/verdicts.parquet", records.VERDICTS),
        ("data/selection/s1/kept.parquet", records.KEPT),
        ("data/shards/s1/manifest.parquet", records.MANIFEST),
    ):
        write(path, [], schema)
    lay_down_trail("s1")
    assert pairs("s1") == {}
    assert len(keys.load(Path("data/trail/s1"), "url")) == 0


def test_the_account_is_that_of_the_verdicts() -> None:
    from lineage import files

    counts = files.read_json(Path("provenance/trail/s2.json"))["counts"]
    assert (counts["rows_in"], counts["kept"], counts["dropped"]) == (3, 1, {"duplicate_exact": 1, "seen_before": 1})
