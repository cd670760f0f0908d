"""A report counts every check once, and says a few of many problems."""

from lineage.checks.findings import Finding, Report, judged, unchecked

FINDINGS = (
    Finding(check="bytes", what="a"),
    unchecked("bytes", "b", "not here"),
    judged("rows", "c", ["one", "two"], "mend it"),
    judged("rows", "d", [], "mend it"),
    Finding(check="records", what="e", state="unattested", problem="no record", remedy="run it"),
)


def test_the_json_has_counts_and_whatever_is_not_good() -> None:
    content = Report(revision="the working tree", paths=("a",), findings=FINDINGS).as_json()
    assert {key: content[key] for key in ("checked", "not_checkable_here", "unattested", "broken")} == {
        "checked": 4,
        "not_checkable_here": 1,
        "unattested": 1,
        "broken": 1,
    }
    assert content["by_check"] == {
        "bytes": {"good": 1, "unchecked": 1},
        "records": {"unattested": 1},
        "rows": {"broken": 1, "good": 1},
    }
    assert [finding["what"] for finding in content["findings"]] == ["c", "e", "b"]
    assert content["findings"][0] == {
        "check": "rows",
        "what": "c",
        "state": "broken",
        "problem": "one; two",
        "remedy": "mend it",
    }


def test_many_problems_are_counted() -> None:
    assert judged("rows", "c", list("abcde"), "").problem == "a; b; c; and 2 more"


def test_a_remedy_names_the_path() -> None:
    assert unchecked("bytes", "data/raw/s1", "not here").remedy == "`dvc pull data/raw/s1`"
