"""How numbers and metrics are spelled, and in which order rows stand."""

import pytest

from cyclip_model.reporting import families, report
from cyclip_model.reporting.results import Cell, Table


@pytest.mark.parametrize(
    ("metric", "spelled"),
    [
        ("top_1", "top-1"),
        ("recall_10", "R@10"),
        ("k_3", "k = 3"),
        ("fine_top_1", "fine top-1"),
        ("in_modal_gap", "in modal gap"),
    ],
)
def test_metrics_in_the_fields_own_words(metric: str, spelled: str) -> None:
    assert families.metric_words(metric) == spelled


@pytest.mark.parametrize(
    ("number", "share", "shown"),
    [
        (0.2084, True, "20.8"),
        (0.00069, True, "0.07"),
        (0.0, True, "0.0"),
        (None, True, ""),
        (-3.0104, False, "-3.010"),
    ],
)
def test_numbers_are_spelled(number: float | None, share: bool, shown: str) -> None:
    assert report.spelled(number, share) == shown


def test_rows_of_a_section_are_in_natural_order() -> None:
    cell = {"clip": Cell(by_seed={0: 0.5}, chances=[], majority=None, n=4)}
    keys = [("emoji", "retrieval", part, "all", f"recall_{k}") for part in ("novel", "seen") for k in (10, 5, 1)]
    table = Table(objectives=["clip"], seeds=[0], cells=dict.fromkeys(keys, cell), models={"clip": {}})
    rows = report.content(table, 0.95)["families"][0]["sections"][0]["rows"]
    assert [(row["turn"][2], row["metric"]) for row in rows] == [
        *(("seen", f"R@{k}") for k in (1, 5, 10)),
        *(("novel", f"R@{k}") for k in (1, 5, 10)),
    ]


def test_a_signed_share_has_no_negative_zero_and_a_small_one_two_decimals() -> None:
    assert report.spelled(-0.0004, True) == "-0.04"
    assert report.spelled(-0.02, True) == "-2.0"


@pytest.mark.parametrize(
    ("metric", "error", "shown"),
    [("top_1", 0.02, "± 3.9"), ("top_1", None, "± 4.9"), ("balanced_accuracy", None, "")],
    ids=["1.96 standard errors", "of a share of n rows", "no such share"],
)
def test_sampling_comes_from_the_standard_error_where_there_is_one(
    metric: str, error: float | None, shown: str
) -> None:
    errors = [] if error is None else [error]
    cell = {"clip": Cell(by_seed={0: 0.5}, chances=[], majority=None, n=400, errors=errors)}
    key = ("cifar10", "zero_shot", "test", "prompt", metric)
    table = Table(objectives=["clip"], seeds=[0], cells={key: cell}, models={"clip": {}})
    assert report.content(table, 0.95)["families"][0]["sections"][0]["rows"][0]["margin"] == shown
