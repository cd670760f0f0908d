"""What is damaged in a raw shard comes from the store; what is nowhere is None; data/raw is never written to."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineage import records
from pipelines import tar
from pipelines.mending import RawShard
from tests.builders import RawPair, contents, make_pairs, write_raw
from tests.pipelines.source_builder import source_row

PAIRS = [*make_pairs(4), RawPair(url="https://a.test/404", caption="gone")]
PICTURES = {pair.uid: pair.picture for pair in PAIRS if pair.picture}


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, Any]]:
    """The rows of the one shard of a raw snapshot at tmp_path/raw, source and ledger side by side."""
    write_raw(tmp_path / "raw", PAIRS, rows_per_shard=9)
    source = {pair.uid: source_row(pair) for pair in PAIRS}
    ledger = records.read_table(tmp_path / "raw" / "ledger.parquet", records.LEDGER)
    return [source[row["uid"]] | row for row in ledger.to_pylist()]


def read(
    folder: Path, rows: list[dict[str, Any]], stored: dict[str, bytes]
) -> tuple[dict[str, bytes | None], str | None]:
    """Returns the pictures as read, and the damage."""
    mended = folder / "mended" / "00000.tar"
    with RawShard(folder / "raw" / tar.shard_name(0), rows, stored.__getitem__, mended=mended) as shard:
        found = {row["uid"]: shard.picture(row) for row in rows if row["outcome"] == "ok"}
        return found, shard.damage


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


DAMAGES: dict[str, tuple[Callable[[Path, dict[str, Any]], None], str]] = {
    "missing": (lambda path, _: path.unlink(), "this shard is missing"),
    "empty": (lambda path, _: os.truncate(path, 0), "ends at byte 0"),
    "truncated": (lambda path, row: os.truncate(path, row["offset"] + 9), "ends at byte"),
    "flipped": (lambda path, row: flip(path, row["offset"] + 9), "differ from the ledger's sha256"),
    "header": (lambda path, row: flip(path, row["offset"] - 500), "no header of"),
    "size": (lambda path, row: flip(path, row["offset"] - 512 + 130), "no header of"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_shard_is_named_and_read_from_the_store(
    tmp_path: Path, rows: list[dict[str, Any]], kind: str
) -> None:
    path = tmp_path / "raw" / "00000.tar"
    good = path.read_bytes()
    damage, words = DAMAGES[kind]
    damage(path, rows[1])
    damaged = contents(tmp_path / "raw")
    found, told = read(tmp_path, rows, PICTURES)
    assert found == PICTURES
    assert told is not None
    assert told.startswith(f"{path}: ")
    assert words in told
    assert (tmp_path / "mended" / "00000.tar").read_bytes() == good
    assert contents(tmp_path / "raw") == damaged


def test_a_whole_shard_needs_no_store(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    assert read(tmp_path, rows, {}) == (PICTURES, None)
    assert not (tmp_path / "mended").exists()


@pytest.mark.parametrize("stored", [{}, {"other": b""}, dict.fromkeys(PICTURES, b"other bytes")])
def test_what_neither_has_whole_is_none_and_the_rest_is_read(
    tmp_path: Path, rows: list[dict[str, Any]], stored: dict[str, bytes]
) -> None:
    lost = [row["uid"] for row in rows if row["outcome"] == "ok"][:1]
    flip(tmp_path / "raw" / "00000.tar", next(row["offset"] for row in rows if row["uid"] in lost))
    found, told = read(tmp_path, rows, stored)
    assert found == {uid: None if uid in lost else picture for uid, picture in PICTURES.items()}
    assert told is not None
    assert not (tmp_path / "mended").exists()


def test_intact_pictures_of_a_damaged_shard_need_no_store(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    ok = [row for row in rows if row["outcome"] == "ok"]
    flip(tmp_path / "raw" / "00000.tar", ok[1]["offset"])
    found, _ = read(tmp_path, rows, {ok[1]["uid"]: PICTURES[ok[1]["uid"]]})
    assert found == PICTURES
