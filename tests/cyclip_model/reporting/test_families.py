"""Families of protocols: every protocol has a table, and the leading metrics stand in the family's order."""

import pytest

from cyclip_model.reporting import families
from cyclip_model.reporting.results import Cell, Key, Table


def table(*keys: Key) -> Table:
    cell = {"clip": Cell(by_seed={0: 0.5}, chances=[], majority=None, n=4)}
    return Table(objectives=["clip"], seeds=[0], cells=dict.fromkeys(keys, cell))


def test_no_protocol_is_left_out_or_in_two_families() -> None:
    listed = [protocol for family in families.FAMILIES for protocol in family.protocols]
    assert sorted(listed) == sorted(families.PROTOCOLS)
    made = table(("a", "zero_shot", "test", "prompt", "top_1"), ("a", "new_one", "test", "x", "y"))
    assert [family.title for family in families.families(made)] == ["Zero-shot", "new one"]


def test_leading_metrics_of_one_question_stand_together_in_the_familys_order() -> None:
    place: tuple[str, str, str] = ("v2", "shift", "test")
    made = table(*((*place, parent, metric) for parent in ("b", "a") for metric in ("top_1", "top_5", "parent_top_1")))
    family = families.families(made)[0]
    assert [key[3:] for key in families.lead_keys(made, family)] == [
        *(("a", metric) for metric in ("parent_top_1", "top_1")),
        *(("b", metric) for metric in ("parent_top_1", "top_1")),
    ]


def test_what_is_without_flags_does_not_lead() -> None:
    made = table(
        *(("emoji", "hierarchy", "novel", variant, "fine_top_1") for variant in ("prompt", "prompt_without_flags"))
    )
    family = families.families(made)[0]
    assert [key[3] for key in families.lead_keys(made, family)] == ["prompt"]
    assert len(families.keys_of(made, family)) == 2


@pytest.mark.parametrize(
    ("protocol", "metric", "share"),
    [
        ("zero_shot", "top_1", True),
        ("clusters", "nmi", False),
        ("sts", "spearman", False),
        ("history", "loss", False),
        ("history", "recall_10", True),
        ("shift", "effective_robustness", True),
    ],
)
def test_which_metrics_are_percentages(protocol: str, metric: str, share: bool) -> None:
    assert families.is_share(("a", protocol, "test", "x", metric)) is share
