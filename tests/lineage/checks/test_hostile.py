"""Nothing that others wrote is trusted: shards, exposure, attest, hashes and tree say what is wrong with it."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage import dag, files, records
from lineage.checks import attest, exposure, hashes, shards
from lineage.checks.tree import Tree, is_inside
from tests.lineage import verify_project as made
from tests.lineage.test_verify import EXPOSURE, MANIFEST, SHARD
from tests.lineage.verify_project import found

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def archive(*members: tuple[str, bytes, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content)
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be read as tar"),
        (b"\xff" * 5000, "cannot be read as tar"),
        (archive(), "holds 0 members"),
        (archive(("../../etc/passwd", tarfile.REGTYPE, b"x")), "holds 1 members"),
        (archive(*[(f"{n}\x1b[31m", tarfile.SYMTYPE, b"") for n in range(15)]), "is not where the manifest says"),
    ],
)
def test_a_shard_that_is_something_else(victim: Path, content: bytes, problem: str) -> None:
    made.replace(victim / SHARD, content)
    assert problem in found(victim)["rows", SHARD]


def test_a_member_that_is_a_link_is_not_followed(victim: Path) -> None:
    rows = [row for row in records.read_table(victim / MANIFEST).to_pylist() if row["shard"] == "train/00000.tar"]
    members = [(f"{row['uid']}.{end}", tarfile.SYMTYPE, b"") for row in rows for end in ("png", "json", "txt")]
    made.replace(victim / SHARD, archive(*members))
    assert "another sha256 than the manifest says" in found(victim)["rows", SHARD]


def change_column(path: Path, name: str, values: list[Any], kind: pa.DataType) -> None:
    table = pq.read_table(path, partitioning=None)
    values = (values * table.num_rows)[: table.num_rows]
    place = table.schema.names.index(name)
    path.unlink()
    pq.write_table(table.set_column(place, name, pa.array(values, kind)), path)


@pytest.mark.parametrize(
    ("path", "name", "values", "kind"),
    [
        (MANIFEST, "shard", ["../../../etc/passwd"], pa.string()),
        (MANIFEST, "shard", [None], pa.string()),
        (MANIFEST, "uid", [None], pa.string()),
        (MANIFEST, "offset", [None], pa.int64()),
        (MANIFEST, "offset", [2**62], pa.int64()),
        (MANIFEST, "offset", ["x"], pa.string()),
        (MANIFEST, "split", [None], pa.string()),
        (EXPOSURE, "count", [None], pa.int64()),
        (EXPOSURE, "count", [-1], pa.int64()),
        (EXPOSURE, "count", [2**63 - 1], pa.int64()),
        (EXPOSURE, "count", ["x"], pa.string()),
        (EXPOSURE, "uid", [None], pa.string()),
        (EXPOSURE, "snapshot", ["s9"], pa.string()),
    ],
)
def test_a_column_with_anything_in_it(victim: Path, path: str, name: str, values: list[Any], kind: pa.DataType) -> None:
    change_column(victim / path, name, values, kind)
    seen = found(victim)
    assert [what for check, what in seen if check == "rows" and what.startswith(path.rpartition("/")[0])]


@pytest.mark.parametrize("path", [MANIFEST, EXPOSURE, "data/selection/s1/kept.parquet"])
def test_a_table_that_is_none(victim: Path, path: str) -> None:
    made.replace(victim / path, b"PAR1 or not")
    place = ("rows", MANIFEST if "selection" in path else path)
    assert "cannot be read as parquet" in found(victim)[place]


@pytest.mark.parametrize(
    "content", ["", "[]", "7", '{"shards": 7}', '{"shards": [7]}', '{"shards": [{}], "snapshots": 3}', "[" * 99_999]
)
def test_a_root_that_is_none(victim: Path, content: str) -> None:
    made.replace(victim / "data/dataset/root.json", content)
    assert ("rows", "data/dataset/root.json") in found(victim)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"outs": 7, "counts": [], "parents": "x", "params": null}', "[" * 99_999, "\udcff"]
)
def test_a_provenance_file_that_is_none(victim: Path, content: str) -> None:
    made.replace(victim / "provenance/pack/s1.json", content.encode("utf-8", "surrogateescape"))
    assert ("provenance", "pack@s1") in found(victim)


def test_counts_that_do_not_add_up(victim: Path) -> None:
    made.edit_json(victim / "provenance/pack/s1.json", lambda content: content["counts"].update(kept=11))
    assert "12 rows in, but 11 accounted for" in found(victim)["provenance", "pack@s1"]


@pytest.mark.parametrize(
    ("recorded", "sections", "differing"),
    [
        ({"a": 1}, {"pack": {"a": 1}}, []),
        ({"pack": {"a": 1}}, {"pack": {"a": 1}}, []),
        ({"a": 2}, {"pack": {"a": 1}}, ["pack"]),
        ({"pack": {"a": 2}}, {"pack": {"a": 1}}, ["pack"]),
        ({"train": 1, "losses.clip": {}}, {"train": 2, "losses.clip": {}}, ["train"]),
        ({"snapshots": ["s1"]}, {"snapshots": ["s1"], "seeds": [0]}, []),
        (None, {"train": 2, "seeds": [0]}, ["seeds", "train"]),
        ({}, {}, []),
    ],
)
def test_params_are_compared_as_far_as_a_provenance_file_names_them(
    recorded: Any, sections: dict[str, Any], differing: list[str]
) -> None:
    assert attest.differing_params(recorded, sections) == differing


@pytest.mark.parametrize(("path", "expected"), [("a/b", True), ("/etc/passwd", False), ("a/../../b", False)])
def test_paths_that_leave_the_project_are_not_followed(real: Path, path: str, expected: bool) -> None:
    assert is_inside(path) == expected
    tree = Tree(dag.load(dag.revision(real, None)))
    tree.outs[path] = "0" * 32
    assert tree.find(path) is None
    assert hashes.check(tree, path).state == ("unchecked" if expected else "broken")


def test_a_digest_that_is_a_path_finds_nothing(real: Path) -> None:
    tree = Tree(dag.load(dag.revision(real, "HEAD")))
    assert tree.held("../../../../../dvc.lock") is None
    assert tree.held("") is None


def test_a_model_that_started_from_another_counts_only_what_it_drew(victim: Path) -> None:
    tree = Tree(dag.load(dag.revision(victim, None)))
    saw = records.read_table(victim / EXPOSURE, records.EXPOSURE).to_pylist()
    older = [{"snapshot": "s0", "uid": "0" * 32, "count": 5}, {**saw[0], "count": 7}]
    both = [older[0], {**saw[0], "count": saw[0]["count"] + 7}, *saw[1:]]
    folder = victim / "models/clip-0"
    for name, rows in (("inherited", older), ("exposure", both)):
        records.write_table(pa.Table.from_pylist(rows, schema=records.EXPOSURE), folder / f"{name}.parquet")
    assert [finding.problem for finding in exposure.check(tree, "models/clip-0")] == [""]
    (folder / "inherited.parquet").unlink()
    (finding,) = exposure.check(Tree(tree.graph), "models/clip-0")
    assert f"names {len(saw) + 1} pairs, its run counted {len(saw)}" in finding.problem


def test_every_shard_of_a_manifest_is_read(real: Path) -> None:
    tree = Tree(dag.load(dag.revision(real, None)))
    listed = {entry["shard"] for entry in files.read_json(real / "data/dataset/root.json")["shards"]}
    assert {finding.what.partition("s1/")[2] for finding in shards.check(tree, "s1")} == {*listed, "manifest.parquet"}
