import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lineage import digests, records
from pipelines import raw_shards
from tests.builders import make_pairs

PAIRS = sorted(make_pairs(5), key=lambda pair: pair.uid)
BODIES = {pair.uid: pair.picture or b"" for pair in PAIRS}
SOURCE = [
    {"uid": pair.uid, "url": pair.url, "caption": pair.caption, "license": None, "origin": "here ☃"} for pair in PAIRS
]
ROWS = [{"uid": uid, "shard": 0, "outcome": "ok", "sha256": digests.sha256_bytes(BODIES[uid])} for uid in BODIES]
ROWS[2] = {"uid": PAIRS[2].uid, "shard": 0, "outcome": "failed", "reason": "http_404"}


def written() -> tuple[bytes, list[dict[str, Any]]]:
    file = io.BytesIO()
    ledger = raw_shards.write_raw_shard(file, zip(SOURCE, ROWS, strict=True), BODIES.__getitem__)
    return file.getvalue(), ledger


def test_a_shard_holds_what_came_and_the_ledger_says_where() -> None:
    content, ledger = written()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = [member.name for member in archive]
    kept = [row for row in ledger if row["outcome"] == "ok"]
    assert [row["uid"] for row in ledger] == [pair.uid for pair in PAIRS]
    assert names == [name for row in kept for name in (row["key"], f"{row['uid']}.json", f"{row['uid']}.txt")]
    for row in kept:
        assert content[row["offset"] : row["offset"] + row["bytes"]] == BODIES[row["uid"]]
    assert "key" not in ledger[2]


def test_a_shard_is_rebuilt_byte_for_byte_whatever_the_order() -> None:
    content, ledger = written()
    assert raw_shards.rebuild_shard_bytes(SOURCE[::-1], ledger[::-1], BODIES.__getitem__) == content


def test_wrong_bytes_are_not_written() -> None:
    with pytest.raises(ValueError, match=f"{PAIRS[0].uid}: its bytes have another sha256"):
        raw_shards.write_raw_shard(io.BytesIO(), zip(SOURCE, ROWS, strict=True), lambda _: b"\x89PNG other")


def test_what_does_not_belong_together_is_named() -> None:
    _, ledger = written()
    uid = PAIRS[1].uid
    held = {other: body for other, body in BODIES.items() if other != uid}
    with pytest.raises(ValueError, match=f"{uid}: its bytes are not in the store"):
        raw_shards.rebuild_shard_bytes(SOURCE, ledger, held.__getitem__)
    with pytest.raises(ValueError, match=f"{uid}: its bytes have another sha256"):
        raw_shards.rebuild_shard_bytes(SOURCE, ledger, (BODIES | {uid: BODIES[PAIRS[0].uid]}).__getitem__)
    with pytest.raises(ValueError, match=f"{uid}: the ledger has it, the source has not"):
        raw_shards.rebuild_shard_bytes([pair for pair in SOURCE if pair["uid"] != uid], ledger, BODIES.__getitem__)
    changed = [pair | {"origin": "elsewhere " * 60} if pair["uid"] == PAIRS[0].uid else pair for pair in SOURCE]
    with pytest.raises(ValueError, match=f"{uid}: would not lie where the ledger says"):
        raw_shards.rebuild_shard_bytes(changed, ledger, BODIES.__getitem__)


@pytest.mark.parametrize("sizes", [[], [0], [3], [1, 0, 2], [7, 7, 7, 1]])
def test_the_ledger_is_the_file_that_one_table_makes(
    sizes: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"uid": f"{n:032x}", "outcome": ("ok", "failed")[n % 3 == 0], "reason": None, "bytes": n, "shard": n // 7}
        for n in range(sum(sizes))
    ]
    table = records.rows_table(rows, records.LEDGER)
    parts = [tmp_path / f"{number}.parquet" for number in range(len(sizes))]
    for number, size in enumerate(sizes):
        records.write_table(table.slice(sum(sizes[:number]), size), parts[number])
    records.write_table(table, tmp_path / "whole.parquet")
    raw_shards.write_ledger(parts, tmp_path / "ledger.parquet")
    assert (tmp_path / "ledger.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    monkeypatch.setattr(records, "ROWS_PER_GROUP", 4)
    raw_shards.write_ledger(parts, tmp_path / "groups.parquet")
    assert records.read_table(tmp_path / "groups.parquet", records.LEDGER).equals(table)


@pytest.mark.slow
def test_the_ledger_of_several_row_groups_is_that_file_too(tmp_path: Path) -> None:
    rows = [
        {"uid": f"{n:032x}", "outcome": "ok", "sha256": f"{n * n:064x}", "shard": n // 1000} for n in range(300_000)
    ]
    table = records.rows_table(rows, records.LEDGER)
    parts = []
    for start in range(0, len(rows), 7001):
        parts.append(tmp_path / f"{start}.parquet")
        records.write_table(table.slice(start, 7001), parts[-1])
    records.write_table(table, tmp_path / "whole.parquet")
    raw_shards.write_ledger(parts, tmp_path / "ledger.parquet")
    assert (tmp_path / "ledger.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
