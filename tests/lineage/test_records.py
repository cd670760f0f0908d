"""Records: equal content is equal bytes, and a uid names one pair."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage import records

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@given(first=st.tuples(TEXT, TEXT), second=st.tuples(TEXT, TEXT))
def test_a_uid_names_one_pair(first: tuple[str, str], second: tuple[str, str]) -> None:
    uid = records.uid_of(*first)
    assert re.fullmatch("[0-9a-f]{32}", uid)
    assert (uid == records.uid_of(*second)) == (first == second)


def test_a_uid_is_known_for_ever() -> None:
    assert records.uid_of("http://a.test/1.png", "a red circle") == "016c05b73e7465716d0dd58bd82e3a39"


def rows(number: int) -> list[dict[str, object]]:
    return [{"uid": f"{index:032x}", "split": "train" if index % 2 else "val"} for index in range(number)]


def test_equal_content_is_equal_bytes_however_it_was_made(tmp_path: Path) -> None:
    whole = records.rows_table(rows(100)[::-1], records.KEPT)
    parts = pa.concat_tables([whole.slice(0, 7), whole.slice(7)])
    marked = parts.replace_schema_metadata({"pandas": "noise"})
    for name, table in (("a", whole), ("b", parts), ("c", marked)):
        records.write_table(table, tmp_path / "new" / name)
    contents = {path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert len(contents) == 1
    assert records.read_table(tmp_path / "new" / "a", records.KEPT).to_pylist() == rows(100)


def test_an_empty_table_keeps_its_schema(tmp_path: Path) -> None:
    records.write_table(records.rows_table([], records.VERDICTS), tmp_path / "x.parquet")
    assert records.read_table(tmp_path / "x.parquet", records.VERDICTS).schema == records.VERDICTS


def test_a_folder_is_read_in_order_of_name(tmp_path: Path) -> None:
    for name, row in (("1.parquet", rows(2)[1:]), ("0.parquet", rows(1))):
        records.write_table(records.rows_table(row, records.KEPT), tmp_path / name)
    assert records.read_table(tmp_path, records.KEPT).to_pylist() == rows(2)
    assert records.read_table(tmp_path, records.KEPT, columns=["split"]).column_names == ["split"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no parquet file there"):
        records.read_table(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"x\.parquet"):
        records.read_table(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes(b"not parquet")
    with pytest.raises(ValueError, match=r"x\.parquet: cannot be read as parquet"):
        records.read_table(tmp_path)
    records.write_table(pa.table({"uid": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"x\.parquet: column split is missing"):
        records.read_table(tmp_path, records.KEPT)


PLACES = pa.schema([("uid", pa.string()), ("place", pa.int64())])


@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 25, 30])
@pytest.mark.parametrize("step", [1, 4, 10, 30])
def test_bytes_are_those_of_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, step: int) -> None:
    monkeypatch.setattr(records, "ROWS_PER_GROUP", 10)
    table = pa.table(
        {"uid": [f"{n % 7:032x}" if n % 5 else None for n in range(number)], "place": range(number)}, PLACES
    )
    with records.TableWriter(tmp_path / "bits.parquet", PLACES) as writer:
        for start in range(0, number, step):
            writer.write(table.slice(start, step))
    assert writer.num_rows == number
    records.write_table(table, tmp_path / "whole.parquet")
    assert (tmp_path / "bits.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_bytes_are_those_of_one_table_of_several_whole_groups(tmp_path: Path) -> None:
    number = 2 * records.ROWS_PER_GROUP + 5
    table = pa.table({"uid": [f"{n:032x}" for n in range(number)], "place": range(number)}, PLACES)
    with records.TableWriter(tmp_path / "bits.parquet", PLACES) as writer:
        for start in range(0, number, 50_000):
            writer.write(table.slice(start, 50_000))
    records.write_table(table, tmp_path / "whole.parquet")
    assert (tmp_path / "bits.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_nothing_stays_of_a_file_that_failed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), records.TableWriter(tmp_path / "a.parquet", PLACES) as writer:
        writer.write(PLACES.empty_table())
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bounds", [[], [0], [5], [1, 1, 7], [100_000, 131_072, 140_000, 270_000]])
def test_tables_are_the_bytes_of_one_table(tmp_path: Path, bounds: list[int]) -> None:
    table = pa.table({"uid": [f"{n:032x}" for n in range(270_000)], "place": range(270_000)}, PLACES)
    stops = [0, *bounds]
    cuts = (table.slice(start, stop - start) for start, stop in zip(stops, bounds, strict=False))
    records.write_tables(cuts, PLACES, tmp_path / "joined.parquet")
    records.write_table(table.slice(0, stops[-1]), tmp_path / "whole.parquet")
    assert (tmp_path / "joined.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
