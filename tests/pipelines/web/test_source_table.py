from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineage import records
from pipelines.web.source_table import SourceTable

UIDS = [f"{2 * number:032x}" for number in range(11)]


def write(path: Path, uids: list[str], rows_per_group: int = 4) -> Path:
    rows = [{"uid": uid, "url": f"http://a.test/{uid}", "caption": uid[-2:]} for uid in uids]
    pq.write_table(pa.Table.from_pylist(rows, schema=records.SOURCE), path, row_group_size=rows_per_group)
    return path


@pytest.mark.parametrize("rows_per_group", [1, 3, 4, 11, 100])
@pytest.mark.parametrize("rows_per_shard", [2, 3, 5, 11, 12])
def test_shards_are_ranges_of_uids_however_the_file_is_cut(
    rows_per_group: int, rows_per_shard: int, tmp_path: Path
) -> None:
    table = SourceTable(write(tmp_path / "source.parquet", UIDS, rows_per_group), rows_per_shard)
    expected = [UIDS[start : start + rows_per_shard] for start in range(0, 11, rows_per_shard)]
    assert table.num_shards == len(expected)
    assert list(table.shards()) == list(enumerate(expected))
    assert [table.uids(shard) for shard in range(table.num_shards)] == expected
    pairs = [pair for shard in range(table.num_shards) for pair in table.pairs(shard)]
    assert [pair["uid"] for pair in pairs] == UIDS
    assert list(pairs[0]) == records.SOURCE.names
    assert all(pair["url"] == f"http://a.test/{pair['uid']}" for pair in pairs)


def test_it_is_the_mapping_of_uids_to_urls(tmp_path: Path) -> None:
    table = SourceTable(write(tmp_path / "source.parquet", UIDS), 5)
    expected = {uid: f"http://a.test/{uid}" for uid in UIDS}
    assert dict(table) == expected == dict(table.items())
    assert len(table) == 11
    assert all(table[uid] == url for uid, url in expected.items())
    for absent in ("", "0", f"{1:032x}", f"{7:032x}", f"{21:032x}", "z"):
        assert absent not in table
        with pytest.raises(KeyError):
            table[absent]


def test_a_list_of_no_rows_has_no_shard(tmp_path: Path) -> None:
    table = SourceTable(write(tmp_path / "source.parquet", []), 5)
    assert (len(table), table.num_shards, list(table.shards()), list(table)) == (0, 0, [], [])
    assert "a" not in table


@pytest.mark.parametrize(
    ("uids", "named"),
    [(["b", "a"], "uid a is out of order"), (["a", "b", "b"], "uid b is out of order, or there twice")],
)
def test_rows_out_of_order_are_refused(uids: list[str], named: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"source.parquet: {named}"):
        SourceTable(write(tmp_path / "source.parquet", uids, 2), 5)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "source.parquet"
    with pytest.raises(FileNotFoundError, match=r"source\.parquet: not there"):
        SourceTable(path, 5)
    path.write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match=r"source\.parquet: cannot be read as parquet"):
        SourceTable(path, 5)
    pq.write_table(pa.table({"uid": ["a"], "url": ["b"]}), path)
    with pytest.raises(ValueError, match=r"source\.parquet: column caption is missing"):
        SourceTable(path, 5)


def test_few_row_groups_are_held(tmp_path: Path) -> None:
    table = SourceTable(write(tmp_path / "source.parquet", UIDS, 1), 2)
    for shard in range(table.num_shards):
        table.pairs(shard)
    assert table._group.cache_info().currsize == 3


@pytest.mark.parametrize("rows_per_group", [1, 4, 100])
@pytest.mark.parametrize("gone", [set(UIDS[3:6]), {UIDS[0], UIDS[10]}, set(UIDS)])
def test_what_was_taken_down_has_its_place_and_no_url(rows_per_group: int, gone: set[str], tmp_path: Path) -> None:
    path = write(tmp_path / "source.parquet", UIDS, rows_per_group)
    rows = [
        row | ({"url": None, "caption": None} if row["uid"] in gone else {}) for row in pq.read_table(path).to_pylist()
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=records.SOURCE), path, row_group_size=rows_per_group)
    table = SourceTable(path, 3)
    live = [uid for uid in UIDS if uid not in gone]
    assert (list(table), len(table), table.num_rows, table.num_shards) == (live, len(live), 11, 4)
    assert dict(table) == {uid: f"http://a.test/{uid}" for uid in live}
    assert not any(uid in table for uid in gone)
    ranges = [UIDS[start : start + 3] for start in range(0, 11, 3)]
    expected = [[uid for uid in one if uid not in gone] for one in ranges]
    assert list(table.shards()) == list(enumerate(expected))
    assert [table.uids(shard) for shard in range(4)] == expected
    assert [[pair["uid"] for pair in table.pairs(shard)] for shard in range(4)] == ranges
