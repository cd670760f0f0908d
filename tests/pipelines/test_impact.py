import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from lineage import audit, dag, digests, files, params, records, trail
from lineage.questions import impact as asked
from lineage.questions.holdings import Holdings
from pipelines import impact
from pipelines.traces import Traces
from tests.builders import make_signals
from tests.pipelines.snapshots import failed, sha, uid, write_roots, write_snapshot

BELOW = "img.b.test"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project of two snapshots, six pairs: 1, 2 and 5 kept; 2 has the bytes of 6."""
    content = params.read() | {"snapshots": ["s1", "s2"]}
    files.write_json(tmp_path / "params.yaml", content)
    data = tmp_path / "data"
    write_snapshot(data, "s1", [make_signals(uid(n), sha256=sha(n)) for n in (1, 2, 3)] + [failed(4, "http_404")])
    write_snapshot(
        data,
        "s2",
        [
            make_signals(uid(5), sha256=sha(5), host=BELOW, host_sha256=digests.sha256_bytes(BELOW.encode())),
            make_signals(uid(6), sha256=sha(2)),
        ],
    )
    kept = {1: ("s1", "train/00000.tar"), 2: ("s1", "train/00001.tar"), 5: ("s2", "train/00000.tar")}
    for name, numbers in (("s1", range(1, 5)), ("s2", range(5, 7))):
        write_trail(tmp_path, name, {uid(n): kept.get(n, (name, None))[1] for n in numbers})
    seen = [{"snapshot": "s1", "uid": uid(n), "count": 3} for n in (1, 2)]
    exposure = pa.Table.from_pylist(seen, records.EXPOSURE)
    audit.write_exposures("clip-0", exposure, None, data / "trail", ["s1", "s2"], data / "audit")
    for number, (name, shard) in kept.items():
        write_shard(data / "shards" / name, shard, number)
    for name in ("s1", "s2"):
        placed = [(n, shard) for n, (of, shard) in kept.items() if of == name]
        write_manifest(data / "shards" / name, placed)
    return tmp_path


def write_trail(root: Path, name: str, shards: dict[str, str | None]) -> None:
    rows = [
        {"uid": uid, "kept": bool(shard), "reason": "kept" if shard else "too_small", "shard": shard}
        for uid, shard in shards.items()
    ]
    made = root / "data/trail" / name
    records.write_table(pa.Table.from_pylist(rows, trail.PAIRS), made / "pairs.parquet")
    signals = records.read_table(root / "data/signals" / name).sort_by("uid")
    records.write_table(signals, root / "sorted" / f"{name}.parquet")
    trail.index(root / "sorted" / f"{name}.parquet", made)


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
        "audit/exposures/clip-0/s1.npy: 1 rows",
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


def test_what_remains_is_found_byte_by_byte_too(root: Path) -> None:
    found = named(root, ("url_sha256", make_signals(uid(3))["url_sha256"]))
    looked_for = Traces(urls=["http://a.test/3.png"], captions=[], pictures=[])
    assert list(impact.remains(root, found, looked_for)) == []
    files.write_text(root / "report/index.html", "<a href='http://a.test/3.png'>")
    assert list(impact.remains(root, found, looked_for)) == [f"{root}/report/index.html: URLs that were taken down"]


@pytest.mark.parametrize(
    "entry",
    [
        ("sha256", sha(2)),
        ("url_sha256", make_signals(uid(6))["url_sha256"]),
        ("host_sha256", digests.sha256_bytes(b"b.test")),
        ("host_sha256", make_signals(uid(1))["host_sha256"]),
        ("phash", make_signals(uid(1), sha256=sha(1))["phash"]),
    ],
)
def test_the_question_names_what_the_rule_names(root: Path, entry: tuple[str, str]) -> None:
    held = Holdings(dag.Revision(root, None), {}, ("s1", "s2"))
    expected = {(row["snapshot"], row["uid"], row["by"]) for row in named(root, entry).to_pylist()}
    assert expected
    found = set()
    for snapshot in held.snapshots:
        these = asked.touched(held, snapshot, [entry])
        uids = records.read_table(root / f"data/trail/{snapshot}/pairs.parquet")["uid"].to_pylist()
        found |= {(snapshot, uids[row], asked.BY[by]) for row, by in zip(these.row_n.tolist(), these.by_n, strict=True)}
    assert found == expected
