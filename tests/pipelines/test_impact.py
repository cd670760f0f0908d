import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lineage import audit, files, params, records
from pipelines import impact
from tests.builders import make_signals
from tests.pipelines.snapshots import failed, sha, uid, write_roots, write_snapshot


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project of two snapshots, six pairs: 1, 2 and 5 kept; 2 has the bytes of 6."""
    content = params.read() | {"snapshots": ["s1", "s2"]}
    files.write_json(tmp_path / "params.yaml", content)
    data = tmp_path / "data"
    write_snapshot(data, "s1", [make_signals(uid(n), sha256=sha(n)) for n in (1, 2, 3)] + [failed(4, "http_404")])
    write_snapshot(
        data, "s2", [make_signals(uid(5), sha256=sha(5), host="img.b.test"), make_signals(uid(6), sha256=sha(2))]
    )
    kept = {1: ("s1", "train/00000.tar"), 2: ("s1", "train/00001.tar"), 5: ("s2", "train/00000.tar")}
    rows = []
    for number in range(1, 7):
        name, shard = kept.get(number, ("s1" if number < 5 else "s2", None))
        row: dict[str, Any] = dict.fromkeys(audit.PAIRS.names)
        rows.append(row | {"snapshot": name, "uid": uid(number), "kept": number in kept, "shard": shard})
    records.write_table(pa.Table.from_pylist(rows, audit.PAIRS), data / "audit/pairs.parquet")
    seen = [{"model": "clip-0", "snapshot": "s1", "uid": uid(n), "count": 3} for n in (1, 2)]
    records.write_table(pa.Table.from_pylist(seen, audit.EXPOSURES), data / "audit/exposures.parquet")
    for number, (name, shard) in kept.items():
        write_shard(data / "shards" / name, shard, number)
    for name in ("s1", "s2"):
        placed = [(n, shard) for n, (of, shard) in kept.items() if of == name]
        write_manifest(data / "shards" / name, placed)
    return tmp_path


def write_shard(folder: Path, shard: str, number: int) -> None:
    (folder / shard).parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / shard, "w") as made:
        made.addfile(tarfile.TarInfo(f"{uid(number)}.png"))
        made.addfile(tarfile.TarInfo(f"{uid(number)}.txt"))


def write_manifest(folder: Path, placed: list[tuple[int, str]]) -> None:
    rows = [
        {
            "uid": uid(n),
            "split": "train",
            "shard": shard,
            "offset": 0,
            "length": 1,
            "sha256": sha(n),
            "source_sha256": sha(n),
        }
        for n, shard in placed
    ]
    records.write_table(records.rows_table(rows, records.MANIFEST), folder / "manifest.parquet")


def named(root: Path, *optouts: tuple[str, str]) -> pa.Table:
    write_roots(root / "data", optouts=optouts)
    return impact.touched(root, root / "data/optouts.parquet")


def test_a_picture_is_found_under_every_link_of_every_snapshot(root: Path) -> None:
    found = named(root, ("sha256", sha(2)))
    assert [(row["snapshot"], row["uid"], row["by"]) for row in found.to_pylist()] == [
        ("s1", uid(2), "sha256"),
        ("s2", uid(6), "sha256"),
    ]
    assert impact.summary(root, found) == {
        "pairs": 2,
        "by": {"sha256": 2},
        "kept": 1,
        "shards": ["s1/train/00001.tar"],
        "models": {"clip-0": {"pairs": 1, "times": 3}},
        "copies": 0,
    }


def test_a_link_names_one_pair_and_its_copies_are_counted(root: Path) -> None:
    found = named(root, ("url_sha256", make_signals(uid(6))["url_sha256"]))
    assert found["uid"].to_pylist() == [uid(6)]
    told = impact.summary(root, found)
    assert told["kept"] == 0
    assert told["models"] == {}
    assert told["copies"] == 1, "2 has the same bytes under another link"


def test_what_nobody_named_is_nothing(root: Path) -> None:
    found = named(root, ("sha256", sha(99)))
    assert found.num_rows == 0
    assert impact.summary(root, found)["pairs"] == 0
    assert list(impact.remains(root, found)) == []


def test_what_remains_is_found_in_every_kind_of_place(root: Path) -> None:
    found = named(root, ("sha256", sha(2)))
    places = list(impact.remains(root, found))
    assert [place.removeprefix(f"{root}/data/") for place in places] == [
        "shards/s1/manifest.parquet: 1 rows by uid",
        "shards/s1/manifest.parquet: 1 rows by sha256",
        "shards/s1/manifest.parquet: 1 rows by source_sha256",
        "audit/exposures.parquet: 1 rows by uid",
        "shards/s1/train/00001.tar: 2 members",
    ]


@pytest.mark.parametrize(
    "place", ["selection/s1/kept.parquet", "screen/rows.parquet", "index/metadata/metadata_0.parquet"]
)
def test_a_row_in_any_table_is_told(root: Path, place: str) -> None:
    found = named(root, ("url_sha256", make_signals(uid(3))["url_sha256"]))
    assert list(impact.remains(root, found)) == []
    records.write_table(pa.table({"uid": [uid(3)]}), root / "data" / place)
    assert list(impact.remains(root, found)) == [f"{root}/data/{place}: 1 rows by uid"]


def test_models_are_looked_through_for_what_they_inherited(root: Path) -> None:
    found = named(root, ("url_sha256", make_signals(uid(3))["url_sha256"]))
    records.write_table(pa.table({"uid": [uid(3)]}), root / "models/clip-0/inherited.parquet")
    assert list(impact.remains(root, found)) == [f"{root}/models/clip-0/inherited.parquet: 1 rows by uid"]


def test_without_measured_signals_it_says_what_to_do(root: Path) -> None:
    files.remove(root / "data/signals/s2")
    with pytest.raises(FileNotFoundError, match=r"signals/s2: not there; `dvc checkout` brings it"):
        named(root, ("sha256", sha(2)))


def test_a_recipe_without_the_rule_is_told(root: Path) -> None:
    content = params.read(root / "params.yaml")
    content["select"]["rules"] = [rule for rule in content["select"]["rules"] if rule["rule"] != "opt_out"]
    files.write_json(root / "params.yaml", content)
    with pytest.raises(ValueError, match="no rule opt_out"):
        named(root, ("sha256", sha(2)))
