"""One shard packed again has the bytes that pack gave it, and nothing else is made."""

from pathlib import Path

import pytest

from pipelines import pack, repack
from tests.builders import contents, enter, make_pairs, write_kept, write_raw

RAW, KEPT, OUT = Path("data/raw/s1"), Path("data/selection/s1/kept.parquet"), Path("data/shards/s1")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(tmp_path, monkeypatch)
    pairs = make_pairs(9)
    write_raw(RAW, pairs)
    write_kept(KEPT, {pair.uid: "val" if number in (2, 5) else "train" for number, pair in enumerate(pairs)})


@pytest.mark.parametrize("shard", ["train/00000.tar", "train/00002.tar", "val/00000.tar"])
def test_it_is_the_shard_that_pack_made(shard: str, tmp_path: Path) -> None:
    pack.main(RAW, KEPT, OUT, Path("provenance/pack/s1.json"))
    before = contents(OUT)
    repack.main(RAW, KEPT, shard, tmp_path / "scratch")
    assert contents(tmp_path / "scratch" / "out") == {shard: before[shard]}
    assert contents(OUT) == before


def test_a_shard_that_the_selection_does_not_make_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train/00009\.tar: .*kept\.parquet makes no such shard; it makes train/0"):
        repack.main(RAW, KEPT, "train/00009.tar", tmp_path / "scratch")
