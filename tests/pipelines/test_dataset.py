"""The data set is named by its content alone, and only if the stages' accounts join."""

import importlib
import io
import json
import re
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow as pa
import pytest
from PIL import Image

from lineage import digests, files, records
from pipelines import dataset, pack
from pipelines.selection import exclusion
from tests.builders import contents, enter, make_pairs, write_account, write_kept, write_params, write_raw

SHARDS, SELECTION, OUT = Path("data/shards"), Path("data/selection"), Path("data/dataset")
PROVENANCE_ROOT = Path("provenance")
CROISSANT = pytest.mark.filterwarnings(
    "ignore:ConjunctiveGraph is deprecated:DeprecationWarning", "ignore:unclosed file:ResourceWarning"
)
"""What mlcroissant and its rdflib do."""
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
    write_account(PROVENANCE_ROOT, "embed", snapshot, rows_in=rows - 1, kept=rows - 1)
    verdicts = [{"uid": uid, "keep": True, "reason": "kept"} for uid in splits]
    verdicts += [{"uid": uid * 32, "keep": False, "reason": "too_small"} for uid in "ef"]
    table = records.rows_table(verdicts, records.VERDICTS)
    records.write_table(table, kept.with_name("verdicts.parquet"))
    sides = pa.array([16.0 if keep else None for keep in table["keep"].to_pylist()], pa.float64())
    records.write_table(pa.table({"uid": table["uid"], "side": sides}), kept.with_name("values.parquet"))
    tally = exclusion.Tally()
    tally.add(signals_of(table), table.set_column(3, "rule", pa.array([None] * len(splits) + ["side"] * 2)))
    files.write_json(kept.with_name("exclusion.json"), tally.report(min_rows=1))


def signals_of(verdicts: pa.Table) -> pa.Table:
    """Returns what the exclusion report asks of the rows: all that go have a language that no other has."""
    languages = ["en" if keep else "xx" for keep in verdicts["keep"].to_pylist()]
    rows = [{"language": language, "host": "a.test", "tld": "test", "caption_chars": 9} for language in languages]
    return records.rows_table(rows, pa.schema([field for field in records.SIGNALS if field.name != "uid"]))


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
        ("embed", {"rows_in": 4}, "snapshot s2: measure has 5 rows (kept), embed took in 4"),
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


def test_whom_the_rules_fall_on_is_told() -> None:
    path = SELECTION / "s1" / "exclusion.json"
    report = json.loads(path.read_text())
    [group] = [group for group in report["rules"]["side"]["groups"]["language"] if group["group"] == "xx"]
    assert group == {"group": "xx", "rows": 2, "dropped": 2, "share": 1.0, "amplification": 3.5}
    group.update(rows=6, dropped=6)  # of two rows nothing is told
    files.write_json(path, report)
    made = run()
    assert b"| side | 28.6% | language xx | 6 | 100.0% | 3.5 |" in made["exclusion.md"]
    assert b"language en" not in made["exclusion.md"]
    assert b"(exclusion.md)" in made["datasheet.md"]


def test_the_values_of_the_rules_are_drawn() -> None:
    made = run()
    [side] = json.loads(made["spreads.json"])
    assert (side["label"], side["kept"], side["dropped"], side["unknown"]) == ("side", [9], [0], 4)
    assert b">side (4 without a value)<" in made["spreads.svg"]
    records.write_table(pa.table({"uid": ["x"], "side": [1.0]}), SELECTION / "s1" / "values.parquet")
    with pytest.raises(ValueError, match=r"selection/s1: values\.parquet and verdicts\.parquet differ in rows; run"):
        run()


@CROISSANT
def test_mlcroissant_loads_the_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract = importlib.import_module("mlcroissant._src.operation_graph.operations.extract")
    monkeypatch.setattr(extract, "EXTRACT_PATH", type(extract.EXTRACT_PATH)(tmp_path / "extracted"))
    run()
    card = mlcroissant.Dataset(jsonld=OUT / "croissant.json")
    assert not card.metadata.issues.errors
    pairs = {pair.uid.encode(): pair for pairs in PAIRS.values() for pair in pairs}
    captions = {row["captions/uid"]: row["captions/caption"] for row in card.records("captions")}
    assert captions == {uid: pair.caption.encode() for uid, pair in pairs.items()}
    shown = {row["pictures/uid"]: row["pictures/picture"] for row in card.records("pictures")}
    assert set(shown) == set(pairs)
    for uid, picture in shown.items():
        given = Image.open(io.BytesIO(pairs[uid].picture or b""))
        assert (picture.format, picture.tobytes()) == (given.format, given.tobytes())


@CROISSANT
def test_mlcroissant_notices_a_damaged_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract = importlib.import_module("mlcroissant._src.operation_graph.operations.extract")
    monkeypatch.setattr(extract, "EXTRACT_PATH", type(extract.EXTRACT_PATH)(tmp_path / "extracted"))
    run()
    with (SHARDS / "s2" / "val" / "00000.tar").open("r+b") as shard:
        shard.seek(600)
        shard.write(b"\0")
    with pytest.raises(mlcroissant.GenerationError):
        list(mlcroissant.Dataset(jsonld=OUT / "croissant.json").records("captions"))
