"""Pairs come from the raw shards by the ledger's places; damage names shard and key."""

from pathlib import Path

import pytest

from cyclip_model.rows import raw
from lineage import records
from tests.builders import RawPair, make_pairs, make_picture, write_raw

PAIRS = [
    *make_pairs(6),
    RawPair(url="https://a.test/x", caption="größer 猫", picture=make_picture(7)),
    RawPair(url="https://a.test/404", caption="gone"),
]
GOOD = [pair.uid for pair in PAIRS[:-1]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_raw(tmp_path / "s1", PAIRS, seed=5)


def test_pairs_are_as_they_were_written_and_only_those_asked_for(folder: Path) -> None:
    wanted = GOOD[1::2]
    found = list(raw.read(folder, wanted))
    assert sorted(pair.uid for pair in found) == sorted(wanted)
    by_uid = {pair.uid: pair for pair in PAIRS}
    for pair in found:
        assert (pair.picture, pair.caption) == (by_uid[pair.uid].picture, by_uid[pair.uid].caption)
        assert pair.snapshot == "s1"
    assert not list(raw.read(folder, []))


def test_the_order_is_that_of_shards_and_then_uids(folder: Path) -> None:
    shard = {row["uid"]: row["shard"] for row in records.read_table(folder / "ledger.parquet").to_pylist()}
    found = [pair.uid for pair in raw.read(folder, GOOD[::-1])]
    assert found == sorted(GOOD, key=lambda uid: (shard[uid], uid))


def test_a_pair_that_was_not_fetched_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=rf"ledger.parquet: {PAIRS[-1].uid} was not fetched"):
        list(raw.read(folder, [*GOOD, PAIRS[-1].uid]))


@pytest.mark.parametrize("place", ["picture", "header", "facts", "caption", "end"])
def test_damage_names_shard_and_key(folder: Path, place: str) -> None:
    row = next(row for row in records.read_table(folder / "ledger.parquet").to_pylist() if row["uid"] == GOOD[0])
    path = folder / f"{row['shard']:05d}.tar"
    content = bytearray(path.read_bytes())
    after = row["offset"] + row["bytes"] + (-row["bytes"] % 512)
    text = content.index(PAIRS[0].caption.encode(), content.index(f"{GOOD[0]}.txt".encode()))
    at = {"picture": row["offset"] + 30, "header": after + 3, "facts": after + 512, "caption": text, "end": 0}[place]
    content[at] ^= 1
    path.write_bytes(bytes(content if place != "end" else content[: row["offset"] + 10]))
    with pytest.raises(ValueError, match=rf"{path.name}, key {GOOD[0]}: .*the shard is damaged"):
        list(raw.read(folder, [GOOD[0]]))


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "00000.tar").unlink()
    with pytest.raises(ValueError, match=r"00000\.tar: this shard is missing"):
        list(raw.read(folder, GOOD))
