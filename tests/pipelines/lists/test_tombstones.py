"""What stays of rows that were taken down: the source's rows are the same ones before and after, all accounted for."""

import csv
import io
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage import digests, records
from pipelines import source
from pipelines.lists import descriptions, purge, recognition, tombstones

GONE, STAYS = "http://a.test/1.png", "http://b.test/2.png"
Made = dict[str, list[dict[str, Any]]]


def rows_of(*uids: str) -> pa.Table:
    rows = [{"uid": uid, "url_sha256": f"url of {uid}", "host_sha256": f"host of {uid}"} for uid in uids]
    return pa.Table.from_pylist(rows, tombstones.TOMBSTONES)


def convert(folder: Path) -> tuple[dict[str, Any], Made]:
    config = source.SourceConfig(max_url_chars=200, num_partitions=3)
    account = source.convert(folder, folder.parent / "made", config, scratch=folder.parent / "aside")
    names = ("source", "rejects", "repeats")
    return account, {name: records.read_table(folder.parent / f"made/{name}.parquet").to_pylist() for name in names}


def laid(folder: Path, rows: list[tuple[str, str]]) -> Path:
    folder.mkdir()
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("url", "caption"), *rows])
    (folder / "a.csv").write_text(text.getvalue(), newline="")
    descriptions.save(recognition.describe(folder / "a.csv", {}), folder)
    return folder


def test_where_nothing_was_taken_down_there_is_none(tmp_path: Path) -> None:
    assert tombstones.read(tmp_path).equals(tombstones.TOMBSTONES.empty_table())
    tombstones.add(rows_of(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_they_are_sorted_each_once_and_stay(tmp_path: Path) -> None:
    tombstones.add(rows_of("c", "a", "c"), tmp_path)
    tombstones.add(rows_of("b", "a"), tmp_path)
    assert tombstones.read(tmp_path).equals(rows_of("a", "b", "c"))
    before = (tmp_path / tombstones.OPTED_OUT).read_bytes()
    tombstones.add(rows_of("b"), tmp_path)
    assert (tmp_path / tombstones.OPTED_OUT).read_bytes() == before


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / tombstones.OPTED_OUT).write_bytes(b"PAR1 no")
    with pytest.raises(ValueError, match=r"opted_out\.parquet: cannot be read as parquet"):
        tombstones.read(tmp_path)


def test_of_a_row_that_was_taken_down_the_source_has_the_hashes(tmp_path: Path) -> None:
    folder = laid(tmp_path / "s1", [(GONE, "a cat"), (STAYS, "a dog"), (GONE, "a cat"), (GONE, "")])
    _, before = convert(folder)
    what = purge.OptedOut(
        uids=frozenset(), url_sha256=frozenset([digests.sha256_bytes(GONE.encode())]), host_sha256=frozenset()
    )
    purge.purge(folder, what, 200, tmp_path / "scratch")
    account, after = convert(folder)
    assert account == {"rows_in": 2, "kept": 2, "dropped": {"repeat": 0}, "failed": Counter()}
    assert [row["uid"] for row in after["source"]] == [row["uid"] for row in before["source"]]
    (gone,) = [row for row in after["source"] if row["url"] is None]
    (whole,) = [row for row in before["source"] if row["url"] == GONE]
    hashes = ("uid", "url_sha256", "host_sha256")
    assert gone == {name: whole[name] if name in hashes else None for name in records.SOURCE.names}
    assert [row for row in after["source"] if row is not gone] == [row for row in before["source"] if row != whole]


def test_a_row_that_the_list_has_again_is_a_repeat_of_its_tombstone(tmp_path: Path) -> None:
    folder = laid(tmp_path / "s1", [(GONE, "a cat"), (STAYS, "a dog"), (GONE, "a cat")])
    tombstones.add(rows_of(records.uid_of(GONE, "a cat")), folder)
    account, made = convert(folder)
    assert account == {"rows_in": 4, "kept": 2, "dropped": {"repeat": 2}, "failed": Counter()}
    assert {row["url"] for row in made["source"]} == {None, STAYS}
    assert made["repeats"] == [{"uid": records.uid_of(GONE, "a cat"), "repeats": 2}]


URLS = st.sampled_from([GONE, STAYS, "http://img.a.test/", "ftp://a.test/", "", " http://a.test/1.png"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(URLS, st.sampled_from(["a cat", "a\ndog", "", '"'])), min_size=1, max_size=20),
    st.sets(URLS),
    st.booleans(),
)
def test_every_row_is_accounted_for_before_and_after(
    rows: list[tuple[str, str]], urls: set[str], is_host_gone: bool
) -> None:
    hosts = frozenset([digests.sha256_bytes(b"a.test")] if is_host_gone else [])
    what = purge.OptedOut(
        uids=frozenset(),
        url_sha256=frozenset(digests.sha256_bytes(url.strip().encode()) for url in urls),
        host_sha256=hosts,
    )
    with tempfile.TemporaryDirectory() as root:
        folder = laid(Path(root) / "s1", [("http://c.test/", "first"), *rows])
        before, made_before = convert(folder)
        gone = purge.purge(folder, what, 200, Path(root) / "scratch")
        after, made_after = convert(folder)
        num_tombstones = tombstones.read(folder).num_rows
    for account, made in ((before, made_before), (after, made_after)):
        repeats = sum(row["repeats"] for row in made["repeats"])
        assert account["rows_in"] == len(made["source"]) + len(made["rejects"]) + repeats
    assert after["rows_in"] == before["rows_in"] - gone.pairs - gone.rejects + num_tombstones
    assert [row["uid"] for row in made_after["source"]] == [row["uid"] for row in made_before["source"]]
    assert sum(row["url"] is None for row in made_after["source"]) == num_tombstones
    assert not any(what.names_url(row["url"]) for name in ("source", "rejects") for row in made_after[name])
