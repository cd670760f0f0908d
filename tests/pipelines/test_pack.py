"""Shards hold the kept pairs, byte for byte the same whatever runs them; damage in the raw data names the shard."""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import webdataset

from lineage import digests, records
from pipelines import pack, pictures, plans
from tests.builders import RawPair, contents, enter, make_pairs, make_picture, write_kept, write_params, write_raw

RAW, KEPT, OUT = Path("data/raw/s1"), Path("data/selection/s1/kept.parquet"), Path("data/shards/s1")
PROVENANCE = Path("provenance/pack/s1.json")
PAIRS = [
    *make_pairs(9),
    RawPair(url="https://a.test/x", caption="größer 猫", picture=make_picture(9), license="CC0 | a", origin="x"),
    RawPair(url="https://a.test/404", caption="gone"),
]
SPLITS = {pair.uid: "val" if number in (2, 5) else "train" for number, pair in enumerate(PAIRS[:10]) if number != 7}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    write_raw(RAW, PAIRS)
    write_kept(KEPT, SPLITS)


def run(**changes: Any) -> dict[str, bytes]:
    write_params(**changes)
    pack.main(RAW, KEPT, OUT, PROVENANCE)
    return contents(OUT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves the file open
def test_shards_hold_the_kept_pairs_and_webdataset_reads_them() -> None:
    made = run()
    assert set(made) == {*(f"train/0000{n}.tar" for n in range(3)), "val/00000.tar", "manifest.parquet"}
    urls = sorted(str(path) for path in OUT.rglob("*.tar"))
    samples = {sample["__key__"]: sample for url in urls for sample in webdataset.WebDataset(url, shardshuffle=False)}
    assert set(samples) == set(SPLITS)
    by_uid = {pair.uid: pair for pair in PAIRS}
    for uid, sample in samples.items():
        pair = by_uid[uid]
        facts = json.loads(sample["json"])
        assert sample["txt"].decode() == pair.caption == facts["caption"]
        assert [pair.picture] == [sample[kind] for kind in ("png", "jpg", "webp", "gif") if kind in sample]
        assert facts["sha256"] == facts["source_sha256"] == digests.sha256_bytes(pair.picture or b"")
        assert (facts["url"], facts["split"]) == (pair.url, SPLITS[uid])


def test_the_manifest_says_where_every_picture_lies() -> None:
    run()
    manifest = records.read_table(OUT / "manifest.parquet", records.MANIFEST).to_pylist()
    assert [row["uid"] for row in manifest] == sorted(SPLITS)
    for row in manifest:
        content = (OUT / row["shard"]).read_bytes()[row["offset"] : row["offset"] + row["length"]]
        assert digests.sha256_bytes(content) == row["sha256"] == row["source_sha256"]
        assert (row["split"], row["shard"].split("/")[0]) == (SPLITS[row["uid"]],) * 2
    for shard in OUT.rglob("train/*.tar"):
        uids = [row["uid"] for row in manifest if row["shard"] == f"train/{shard.name}"]
        places = {row["uid"]: row["offset"] for row in manifest}
        assert uids == sorted(uids, key=places.__getitem__)


def test_the_account() -> None:
    run()
    counts = json.loads(PROVENANCE.read_text())["counts"]
    assert (counts["rows_in"], counts["kept"], counts["splits"]) == (9, 9, {"train": 7, "val": 2})
    assert counts["licenses"] == {"CC0 | a": {"x": 1}, "unknown": {"unknown": 8}}


def test_bytes_do_not_depend_on_the_raw_order() -> None:
    expected = run()
    write_raw(RAW, PAIRS, rows_per_shard=3, seed=7)
    assert run() == expected


def test_bytes_are_the_same_after_a_kill() -> None:
    expected = run()
    code = (
        "import os, signal; from pathlib import Path; from pipelines import pack\n"
        "add = pack.add_pair\n"
        "def killed(file, row, sample, facts, task):\n"
        "    file.flush() if add(file, row, sample, facts, task) else None\n"
        "    task.name == 'train-00001' and os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return add(file, row, sample, facts, task)\n"
        "pack.add_pair = killed\n"
        f"pack.main(Path('{RAW}'), Path('{KEPT}'), Path('{OUT}'), Path('{PROVENANCE}'))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == -9
    (scratch,) = [path for path in Path(".work").glob("pack-*") if path.is_dir()]
    assert list(scratch.rglob("*.partial"))
    for receipt in (scratch / "receipts").glob("*.json"):
        (scratch / "out" / receipt.stem.replace("-", "/")).with_suffix(".tar").unlink()
        receipt.unlink()  # made by the faulty code above
    assert run() == expected
    assert not list(OUT.rglob("*.partial"))


def test_a_finished_shard_is_not_made_again_after_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run()
    made: list[str] = []

    def count(file: Any, row: Any, sample: Any, facts: Any, task: pack.PackTask) -> dict[str, Any]:
        if len(made) == 5:
            raise OSError("no space left")
        made.append(task.name)
        return add(file, row, sample, facts, task)

    add = pack.add_pair
    monkeypatch.setattr(pack, "add_pair", count)
    with pytest.raises(Exception, match="no space left"):
        run()
    first = list(made)
    made[:] = [""] * 6  # never five again
    assert run() == expected
    size = {"train-00000": 3, "train-00001": 3, "train-00002": 1, "val-00000": 2}
    finished = {name for name in first if first.count(name) == size[name]}
    assert finished
    assert not finished & set(made)


@pytest.mark.parametrize("shift", [30, -512 + 20])
def test_a_flipped_byte_in_a_raw_shard_names_it(shift: int) -> None:
    row = next(r for r in records.read_table(RAW / "ledger.parquet").to_pylist() if r["uid"] in SPLITS)
    path = RAW / f"{row['shard']:05d}.tar"
    content = bytearray(path.read_bytes())
    end = row["offset"] + row["bytes"] + (-row["bytes"] % 512)
    content[row["offset"] + shift if shift > 0 else end + 512 + shift] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=rf"data/raw/s1/{path.name}: .*damaged; `dvc checkout`"):
        run()
    assert not OUT.exists()


def test_selection_and_raw_data_must_belong_together() -> None:
    for uid in ("f" * 32, PAIRS[-1].uid):
        write_kept(KEPT, {**SPLITS, uid: "train"})
        with pytest.raises(ValueError, match=r"kept\.parquet: keeps pairs that data/raw/s1 did not fetch"):
            run()


def test_a_shard_that_does_not_read_back_is_refused() -> None:
    run()
    manifest = records.read_table(OUT / "manifest.parquet").to_pylist()
    rows = [row for row in manifest if row["shard"] == "train/00000.tar"]
    shard = OUT / "train/00000.tar"
    pack.verify_shard(shard, rows)
    content = bytearray(shard.read_bytes())
    content[rows[1]["offset"]] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=rf"00000\.tar: {rows[1]['uid']} does not read back as written"):
        pack.verify_shard(shard, rows)


@pytest.mark.parametrize(
    ("num_rows", "rows_per_shard", "num_shards", "sizes"),
    [
        (7, 3, None, [3, 3, 1]),
        (6, 3, None, [3, 3]),
        (0, 3, None, []),
        (7, 3, 3, [3, 2, 2]),
        (7, 3, 1, [7]),
        (2, 3, 4, [1, 1]),
        (0, 3, 4, []),
    ],
)
def test_the_sizes_of_shards(num_rows: int, rows_per_shard: int, num_shards: int | None, sizes: list[int]) -> None:
    assert pack.shard_sizes(num_rows, rows_per_shard, num_shards) == sizes


def test_a_number_of_shards_may_be_asked_of_the_train_split() -> None:
    made = run(pack={"num_shards": 4})
    assert {name for name in made if name.startswith("train")} == {f"train/0000{n}.tar" for n in range(4)}
    manifest = records.read_table(OUT / "manifest.parquet", records.MANIFEST).to_pylist()
    shards = [row["shard"] for row in manifest if row["split"] == "train"]
    assert [shards.count(f"train/0000{n}.tar") for n in range(4)] == [2, 2, 2, 1]
    assert shards == sorted(shards)


def test_large_pictures_are_reduced_and_both_hashes_kept() -> None:
    run(pack={"max_side_px": 16})
    by_uid = {pair.uid: pair for pair in PAIRS}
    manifest = records.read_table(OUT / "manifest.parquet", records.MANIFEST).to_pylist()
    kinds = set()
    for row in manifest:
        content = (OUT / row["shard"]).read_bytes()[row["offset"] : row["offset"] + row["length"]]
        assert digests.sha256_bytes(content) == row["sha256"] != row["source_sha256"]
        assert row["source_sha256"] == digests.sha256_bytes(by_uid[row["uid"]].picture or b"")
        assert pictures.read(content, 16 * 13).size == (16, 13)  # 20 x 16, the longer side at 16
        kinds.add(pictures.sniff(content))
    assert kinds == {"png", "jpg", "webp"}
    unchanged = run(pack={"max_side_px": 20})
    assert unchanged == run()


@pytest.mark.parametrize("name", ["rows_per_shard", "num_shards", "max_side_px"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be >= 1, not 0"):
        run(pack={name: 0})


def test_tasks_carry_paths_and_no_rows() -> None:
    """At 10^7 rows the tasks and receipts must still be small."""
    config = pack.PackConfig(rows_per_shard=3, num_shards=None, max_side_px=None)
    tasks = pack.plan(RAW, KEPT, Path("work"), config)
    assert max(len(pickle.dumps(task)) for task in tasks) < 1000
    for split in pack.SPLITS:
        (Path("work/out") / split).mkdir(parents=True)
    assert max(len(json.dumps(pack.pack_shard(task))) for task in tasks) < 200


def test_plans_do_not_depend_on_how_many_rows_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run()
    for rows in (1, 2, 5):
        monkeypatch.setattr(plans, "_BATCH_ROWS", rows)
        monkeypatch.setattr(records, "ROWS_PER_GROUP", 1 << 17)
        assert run() == expected


def test_nothing_kept_is_an_empty_data_set() -> None:
    write_kept(KEPT, {})
    assert set(run()) == {"manifest.parquet"}
