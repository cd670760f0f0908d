"""The data set is named by its content alone, and only if the stages' accounts join."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lineage import digests, files
from pipelines import dataset, pack
from tests.builders import contents, enter, make_pairs, write_account, write_kept, write_params, write_raw

SHARDS, SELECTION, OUT = Path("data/shards"), Path("data/selection"), Path("data/dataset")
PROVENANCE_ROOT = Path("provenance")
PAIRS = {"s1": make_pairs(5), "s2": make_pairs(4, start=20)}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    for snapshot in PAIRS:
        make_snapshot(snapshot)
    account_selection()


def make_snapshot(snapshot: str) -> None:
    """Makes the shards of a snapshot by the real stage, and the accounts of those before it."""
    pairs = PAIRS[snapshot]
    raw = write_raw(Path("data/raw") / snapshot, pairs)
    splits = {pair.uid: "val" if number == 0 else "train" for number, pair in enumerate(pairs)}
    kept = write_kept(SELECTION / snapshot / "kept.parquet", splits)
    pack.main(raw, kept, SHARDS / snapshot, PROVENANCE_ROOT / "pack" / f"{snapshot}.json")
    rows = len(pairs) + 2
    write_account(PROVENANCE_ROOT, "source", snapshot, rows_in=rows + 1, kept=rows, failed={"no_url": 1})
    write_account(PROVENANCE_ROOT, "download", snapshot, rows_in=rows, kept=rows - 1, failed={"http_404": 1})
    write_account(PROVENANCE_ROOT, "measure", snapshot, rows_in=rows, kept=rows - 1, failed={"http_404": 1})


def account_selection(**changes: int) -> None:
    lost = {"dropped": {"too_small": 1}, "failed": {"http_404": 1}}
    counts = {
        name: {"rows_in": len(pairs) + 2, "kept": len(pairs), **lost, **(changes if name == "s2" else {})}
        for name, pairs in PAIRS.items()
    }
    write_account(PROVENANCE_ROOT, "select", "all", snapshots=counts)


def run(*snapshots: str, **changes: Any) -> dict[str, bytes]:
    write_params(snapshots=list(snapshots or PAIRS), **changes)
    dataset.main(SHARDS, SELECTION, PROVENANCE_ROOT, OUT, PROVENANCE_ROOT / "dataset" / "all.json")
    return contents(OUT)


def test_the_root_lists_every_shard() -> None:
    root = json.loads(run()["root.json"])
    assert root["rows"] == {"train": 7, "val": 2}
    assert root["snapshots"] == ["s1", "s2"]
    assert root["digest"] == digests.content_digest(root["shards"])
    assert [(entry["snapshot"], entry["shard"], entry["rows"]) for entry in root["shards"]] == [
        ("s1", "train/00000.tar", 3),
        ("s1", "train/00001.tar", 1),
        ("s1", "val/00000.tar", 1),
        ("s2", "train/00000.tar", 3),
        ("s2", "val/00000.tar", 1),
    ]
    for entry in root["shards"]:
        path = SHARDS / entry["snapshot"] / entry["shard"]
        assert (entry["sha256"], entry["bytes"]) == (digests.sha256_file(path), path.stat().st_size)


def test_the_account_covers_every_row_of_the_lists() -> None:
    run()
    counts = files.read_json(PROVENANCE_ROOT / "dataset" / "all.json")["counts"]
    assert (counts["rows_in"], counts["kept"]) == (15, 9)
    assert counts["dropped"] == {"too_small": 2}
    assert counts["failed"] == {"http_404": 2, "no_url": 2}


def test_the_digest_depends_on_content_only(monkeypatch: pytest.MonkeyPatch) -> None:
    first = run()
    assert run() == first
    renamed = run(dataset={"name": "other", "description": "Another."})
    assert renamed["root.json"] == first["root.json"]
    assert renamed["datasheet.md"] != first["datasheet.md"]
    for snapshot in PAIRS:
        make_snapshot(snapshot)
    assert run()["root.json"] == first["root.json"]
    monkeypatch.setitem(PAIRS, "s2", make_pairs(4, start=30))
    make_snapshot("s2")
    assert json.loads(run()["root.json"])["digest"] != json.loads(first["root.json"])["digest"]


def test_a_removed_snapshot_is_pruned() -> None:
    run()
    root = json.loads(run("s1")["root.json"])
    assert {entry["snapshot"] for entry in root["shards"]} == {"s1"}
    gone = [SHARDS / "s2", SELECTION / "s2", *(PROVENANCE_ROOT / name / "s2.json" for name in ("source", "pack"))]
    assert not any(path.exists() for path in gone)
    assert (PROVENANCE_ROOT / "select" / "all.json").exists()


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        ("source", {"kept": 5}, "snapshot s2: source has 5 rows (kept), download took in 6"),
        ("download", {"rows_in": 5}, "snapshot s2: source has 6 rows (kept), download took in 5"),
        ("measure", {"rows_in": 7}, "snapshot s2: download has 6 rows (rows_in), measure took in 7"),
        ("pack", {"rows_in": 3}, "snapshot s2: select has 4 rows (kept), pack took in 3"),
        ("pack", {"kept": 3}, "snapshot s2: the shards hold 4 rows, pack accounted for 3"),
    ],
)
def test_accounts_that_do_not_join(stage: str, change: dict[str, int], words: str) -> None:
    path = PROVENANCE_ROOT / stage / "s2.json"
    content = files.read_json(path)
    content["counts"].update(change)
    files.write_json(path, content)
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        run()
    assert not OUT.exists()


def test_a_selection_that_does_not_join() -> None:
    account_selection(rows_in=9)
    with pytest.raises(ValueError, match=r"snapshot s2: measure has 6 rows \(rows_in\), select took in 9"):
        run()
    write_account(PROVENANCE_ROOT, "select", "all", snapshots={})
    with pytest.raises(ValueError, match=r"select/all\.json: has no snapshot s1"):
        run()


def test_shards_and_manifest_must_agree() -> None:
    (SHARDS / "s2" / "val" / "00000.tar").unlink()
    with pytest.raises(ValueError, match=r"data/shards/s2: manifest\.parquet lists 2 shards, 1 are there; repack it"):
        run()


@pytest.mark.filterwarnings("ignore")
def test_the_card_is_valid_croissant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlcroissant = pytest.importorskip("mlcroissant")
    extract = importlib.import_module("mlcroissant._src.operation_graph.operations.extract")
    monkeypatch.setattr(extract, "EXTRACT_PATH", type(extract.EXTRACT_PATH)(tmp_path / "extracted"))
    run()
    card = mlcroissant.Dataset(jsonld=OUT / "croissant.json")
    assert list(card.metadata.issues.errors) == []
    captions = {pair.caption.encode() for pairs in PAIRS.values() for pair in pairs}
    uids = {pair.uid.encode() for pairs in PAIRS.values() for pair in pairs}
    rows = list(card.records("pairs"))
    assert {row["pairs/caption"] for row in rows} == captions
    assert {row["pairs/uid"] for row in rows} == uids
