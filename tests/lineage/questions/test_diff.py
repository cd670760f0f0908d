"""diff tells what changed between two revisions, pair by pair, and no more."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage import cursors
from lineage.questions import diff, holdings
from lineage.questions.diff import CHANGES
from lineage.questions.holdings import Holdings
from tests.lineage.questions.small import sha, uid

SIDE = pa.schema(
    [(name, pa.string()) for name in ("uid", "reason", "rule", "split", "sha256")] + [("kept", pa.bool_())]
)
PAIRS = st.dictionaries(
    st.integers(0, 30),
    st.tuples(
        st.sampled_from(["kept", "too_small", "http_404"]), st.sampled_from("ab"), st.sampled_from(["train", "val"])
    ),
)


def changes(old: Holdings, new: Holdings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pa.concat_tables([CHANGES.empty_table(), *diff.diff(old, new)]).to_pylist()
    return found


def test_every_change_stands_once_with_both_sides(first: Holdings, second: Holdings) -> None:
    found = {(row["snapshot"], row["uid"]): row for row in changes(first, second)}
    assert set(found) == {("s1", uid("s1", 1)), ("s1", uid("s1", 3))}
    fox, bird = found["s1", uid("s1", 1)], found["s1", uid("s1", 3)]
    assert (fox["change"], fox["old_reason"], fox["new_reason"], fox["new_sha256"]) == (
        "out",
        "kept",
        "opted_out",
        None,
    )
    assert (bird["change"], bird["old_sha256"], bird["new_sha256"]) == ("bytes", sha("picture 3"), sha("another"))
    back = diff.account(pa.Table.from_pylist(changes(second, first), CHANGES))
    assert back == {"changes": {"in": 1, "bytes": 1}, "by_rule": {"in": {"opted_out": 1}, "bytes": {"kept": 1}}}


def test_a_revision_differs_from_itself_in_nothing(first: Holdings) -> None:
    assert changes(first, first) == []
    assert all(row["old"] == row["new"] for row in diff.metrics(first, first))


def test_what_lies_in_the_workspace_is_read_and_not_believed(laid_down: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(laid_down, folder)
    (folder / "data/trail/s1/pairs.parquet").write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"pairs\.parquet: cannot be read"):
        changes(holdings.at(folder, "HEAD"), holdings.at(folder))


def test_metrics_stand_side_by_side(first: Holdings, second: Holdings) -> None:
    assert diff.metrics(first, second) == [{"model": "clip-0", "metric": "emoji.top_1.value", "old": 0.5, "new": 0.25}]


def test_a_snapshot_of_one_side_alone_is_listed_whole(first: Holdings) -> None:
    younger = Holdings(first.revision, first.outs, ("s1",))
    found = diff.account(pa.Table.from_pylist(changes(younger, first), CHANGES))
    assert found["changes"] == {"listed": 2, "in": 1}
    assert diff.account(pa.Table.from_pylist(changes(first, younger), CHANGES))["changes"] == {"unlisted": 2, "out": 1}


@given(old=PAIRS, new=PAIRS)
def test_each_pair_has_at_most_one_change_and_the_right_one(old: Any, new: Any) -> None:
    sides = [[_row(number, *told) for number, told in side.items()] for side in (old, new)]
    tables = [pa.Table.from_pylist(sorted(side, key=lambda row: str(row["uid"])), SIDE) for side in sides]
    found = {row["uid"]: row["change"] for row in diff._compared("s1", tables[0], tables[1]).to_pylist()}
    expected = {f"{number:032x}": _change(old.get(number), new.get(number)) for number in {*old, *new}}
    assert found == {key: word for key, word in expected.items() if word}


def _row(number: int, reason: str, content: str, split: str) -> dict[str, Any]:
    placed = {"split": split, "sha256": content} if reason == "kept" else {}
    return {"uid": f"{number:032x}", "reason": reason, "kept": reason == "kept", **placed}


def _change(old: tuple[str, str, str] | None, new: tuple[str, str, str] | None) -> str | None:
    was, is_now = old is not None and old[0] == "kept", new is not None and new[0] == "kept"
    if was != is_now:
        return "in" if is_now else "out"
    if old is None or new is None:
        return "listed" if old is None else "unlisted"
    if was:
        return "bytes" if old[1] != new[1] else "split" if old[2] != new[2] else None
    return "reason" if old[0] != new[0] else None


def test_row_groups_do_not_matter(first: Holdings, second: Holdings, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, whole = changes(first, second), cursors.Cursor._read
    monkeypatch.setattr(
        cursors.Cursor, "_read", lambda one: (table.slice(row, 1) for table in whole(one) for row in range(len(table)))
    )
    assert changes(first, second) == expected
