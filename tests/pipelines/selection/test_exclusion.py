"""Who is dropped by which rule: shares and amplification small enough to check by eye."""

from typing import Any

import pyarrow as pa
import pytest

from lineage import records
from pipelines.selection.exclusion import Tally, grouped, markdown
from tests.pipelines.snapshots import uid

# language, host, caption characters, rule that dropped the row (None: kept), error
ROWS: list[tuple[str | None, str, int | None, str | None, str | None]] = [
    *[("en", "a.test", 25, None, None)] * 5,
    ("en", "b.test", 25, "side", None),
    ("de", "a.test", 9, "side", None),
    ("de", "b.test", 10, "language", None),
    ("de", "b.test", 10, None, None),
    (None, "b.test", 400, "side", None),
    ("en", "c.test", None, "download", "http_404"),
    ("en", "c.test", 25, "seen_before", None),
]


def tables(rows: list[Any]) -> tuple[pa.Table, pa.Table]:
    language, host, chars, rule, error = (list(column) for column in zip(*rows, strict=True))
    facts = {"language": language, "host": host, "tld": ["test"] * len(rows), "caption_chars": chars, "error": error}
    kinds = {name: pa.int64() if name == "caption_chars" else pa.string() for name in facts}
    verdicts = [{"uid": uid(n), "keep": one is None, "rule": one} for n, one in enumerate(rule)]
    made = pa.table({name: pa.array(column, kinds[name]) for name, column in facts.items()})
    return made, records.rows_table(verdicts, records.VERDICTS)


@pytest.mark.parametrize("step", [1, 5, 12])
def test_shares_and_amplification(step: int) -> None:
    tally = Tally()
    for start in range(0, len(ROWS), step):
        tally.add(*tables(ROWS[start : start + step]))
    report = tally.report(min_rows=2)
    assert (report["rows"], report["min_group_rows"]) == (10, 2)  # neither the failed one nor the one seen before
    assert {rule: (found["dropped"], found["share"]) for rule, found in report["rules"].items()} == {
        "any": (4, 0.4),
        "language": (1, 0.1),
        "side": (3, 0.3),
    }
    side = report["rules"]["side"]["groups"]
    assert side["language"] == [  # the one row without a language is no group
        {"group": "de", "rows": 3, "dropped": 1, "share": 0.3333, "amplification": 1.1111},
        {"group": "en", "rows": 6, "dropped": 1, "share": 0.1667, "amplification": 0.5556},
    ]
    assert [(row["group"], row["amplification"]) for row in side["host"]] == [("b.test", 1.6667), ("a.test", 0.5556)]
    assert [(row["group"], row["amplification"]) for row in report["rules"]["any"]["groups"]["host"]] == [
        ("b.test", 1.875),
        ("a.test", 0.4167),
    ]
    assert [row["group"] for row in report["rules"]["language"]["groups"]["caption_length"]] == ["10 to 19", "20 to 39"]


def test_groups_of_every_row() -> None:
    rows = [(None, "a.test", chars, None, None) for chars in (0, 9, 10, 319, 320, 5000, None)]
    found = grouped(tables(rows)[0])
    assert found["caption_length"].to_pylist() == [
        *("0 to 9", "0 to 9", "10 to 19", "160 to 319", "320 up", "320 up", "(none)")
    ]
    assert set(found["language"].to_pylist()) == {"(none)"}


def test_nothing_judged_is_an_empty_report() -> None:
    assert Tally().report(1) == {"rows": 0, "min_group_rows": 1, "rules": {}}
    tally = Tally()
    tally.add(*tables(ROWS[:5]))
    assert tally.report(1)["rules"] == {}


def test_markdown_shows_what_stands_out_and_escapes_hosts() -> None:
    tally = Tally()
    tally.add(*tables([(language, "x|<b>.test", chars, rule, error) for language, _, chars, rule, error in ROWS]))
    text = markdown({"s1": tally.report(1)}, min_amplification=1.0, min_dropped=1)
    lines = text.splitlines()
    assert lines[0] == "### s1: 10 rows judged"
    assert "| side | 30.0% | language (none) | 1 | 100.0% | 3.3 |" in lines
    assert "| any | 40.0% | host x&#124;&#60;b&#62;.test | 10 | 40.0% | 1.0 |" in lines
    assert not any("language en" in line for line in lines)  # dropped less often than others
    assert "100.0%" not in markdown({"s1": tally.report(1)})  # of one row a share says little
