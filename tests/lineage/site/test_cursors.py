from pathlib import Path

import pyarrow as pa
import pytest

from lineage import records
from lineage.site import cursors
from lineage.site.cursors import Cursor

UIDS = [f"{number:032x}" for number in range(0, 1000, 7)]
SCHEMA = pa.schema([("uid", pa.string()), ("snapshot", pa.string()), ("text", pa.string())])


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    rows = [{"uid": uid, "snapshot": f"s{number % 2}", "text": str(number)} for number, uid in enumerate(UIDS)]
    paths = []
    for start in range(0, len(rows), 40):
        paths.append(tmp_path / f"{start:05d}.parquet")
        records.write_table(pa.Table.from_pylist(rows[start : start + 40], SCHEMA), paths[-1])
    return paths


def test_ranges_give_every_row_once_in_order(parts: list[Path]) -> None:
    cursor = Cursor("record", parts, ["uid", "text"])
    bounds = [f"{number:032x}" for number in (0, 8, 9, 500, 500, 993)]
    found = [cursor.below(bound)["uid"].to_pylist() for bound in [*bounds, None]]
    assert [uid for some in found for uid in some] == UIDS
    for some, bound in zip(found, bounds, strict=False):
        assert all(uid < bound for uid in some)
    assert cursor.num_rows == len(UIDS)


def test_rows_of_one_snapshot_alone(parts: list[Path]) -> None:
    cursor = Cursor("record", parts, ["uid"], where=("snapshot", "s1"))
    assert cursor.below(None)["uid"].to_pylist() == UIDS[1::2]
    assert cursor.below(None).num_rows == 0


def test_rows_out_of_order_are_refused(parts: list[Path]) -> None:
    with pytest.raises(ValueError, match="record: its uids do not ascend"):
        Cursor("record", parts[::-1], ["uid"]).below(None)
    again = Cursor("record", [parts[0], parts[0]], ["uid"])
    again.below(UIDS[20])
    with pytest.raises(ValueError, match="record: its uids do not ascend"):
        again.below(None)


def test_a_uid_of_another_form_is_refused(tmp_path: Path) -> None:
    for number, bad in enumerate(("../../x", "A" * 32, None)):
        path = tmp_path / f"{number}.parquet"
        records.write_table(pa.table({"uid": pa.array([bad], pa.string())}), path)
        with pytest.raises(ValueError, match="not every uid is 32 hex digits"):
            Cursor("record", [path], ["uid"]).below(None)


def test_a_damaged_file_and_a_missing_column_are_named(parts: list[Path]) -> None:
    with pytest.raises(ValueError, match="record: column absent is missing"):
        Cursor("record", parts, ["uid", "absent"])
    content = bytearray(parts[0].read_bytes())
    content[4:200] = bytes(196)
    parts[0].write_bytes(content)
    with pytest.raises(ValueError, match="record: cannot be read as parquet"):
        Cursor("record", parts, ["uid", "text"]).below(None)


def test_tables_of_other_rows_are_told_apart() -> None:
    left, right = (pa.table({"uid": uids}) for uids in (["a", "b"], ["a", "c"]))
    with pytest.raises(ValueError, match="left has b, right has not"):
        cursors.aligned({"left": left, "right": right})
    cursors.aligned({"left": left, "right": left})


def test_text_that_is_no_utf8_is_replaced() -> None:
    damaged = pa.array([b"good", b"b\xffd", None], pa.binary()).view(pa.string())
    assert cursors.texts(pa.chunked_array([damaged])) == ["good", "b\ufffdd", None]


def test_numbers_that_json_cannot_hold_are_left_out() -> None:
    assert cursors.plain(pa.chunked_array([[1.5, float("nan"), float("inf"), None]])) == [1.5, None, None, None]


def test_ranges_are_as_many_as_the_rows_ask_for() -> None:
    assert list(cursors.bounds(10)) == [None]
    assert list(cursors.bounds(4 * cursors.ROWS_PER_RANGE)) == ["40000000", "80000000", "c0000000", None]
