from collections import Counter

from lineage.site.funnel import funnel
from lineage.site.tally import Tally
from tests.lineage.site.trail_project import graph


def tally() -> Tally:
    made = Tally(["s1", "s2"], [])
    made.reasons = [
        Counter({"kept": 8, "http_404": 1, "opt_out": 1, "truncated": 1, "too_small": 2, "language": 1}),
        Counter({"seen_before": 2}),
    ]
    return made


def test_every_row_of_the_lists_is_accounted_for() -> None:
    steps = funnel(tally(), graph())
    assert [(step.stage, step.rows_in, step.kept) for step in steps] == [
        ("source", 22, 16),
        ("download", 16, 14),
        ("measure", 14, 13),
        ("embed", 13, 13),
        ("select", 13, 8),
    ]
    assert [(loss.word, loss.count) for loss in steps[0].losses] == [("repeat", 4), ("no_url", 2)]
    assert [loss.word for loss in steps[-1].losses] == ["seen_before", "too_small", "language"]
    assert steps[-1].losses[0].frac == 2 / 13


def test_snapshots_stand_alone() -> None:
    assert [step.kept for step in funnel(tally(), graph(), "s2")] == [2, 2, 2, 2, 0]


def test_no_rows_are_no_error() -> None:
    assert funnel(Tally([], []), {"nodes": {}})[-1].kept == 0
