"""Published numbers: whose names match, and beside what of ours they stand."""

import json
from pathlib import Path

import pytest

from cyclip_model.reporting import published
from cyclip_model.reporting.results import Cell, Table

FILE = Path(published.__file__).parent / "templates" / "published.json"


def table(name: str, protocol: str, variant: str, metric: str) -> Table:
    made = Table(objectives=["clip"], seeds=[0])
    made.cells[name, protocol, "test", variant, metric] = {
        "clip": Cell(by_seed={0: 0.125}, chances=[], majority=None, n=8)
    }
    return made


def test_ours_stands_beside_the_number_of_the_same_metric_and_objective() -> None:
    rows = published.beside(table("CIFAR-10", "consistency", "prompt", "k_3"))
    (both,) = [row for row in rows if row["ours"] != "–"]
    assert both == {
        **{"set": "CIFAR-10", "metric": "Consistency, prompt, k = 3", "objective": "clip", "published": "46.0"},
        **{"ours": "12.5", "setting": "RN50, CC3M", "source": "CyCLIP, arXiv 2205.14459"},
    }
    assert len(rows) == 8, "four k, two objectives"
    assert [row["metric"][-2:].strip() for row in rows] == ["1", "1", "3", "3", "5", "5", "10", "10"]


def test_sets_of_other_names_have_none() -> None:
    assert published.beside(table("emoji", "consistency", "prompt", "k_3")) == []


@pytest.mark.parametrize(
    ("name", "same"),
    [("cifar100", "cifar100"), ("CIFAR-100", "cifar100"), ("ImageNet1K", "imagenet"), ("mscoco", "coco")],
)
def test_names_are_compared_by_letters_and_digits(name: str, same: str) -> None:
    assert published.same_set(name) == same


def test_no_number_that_is_only_recalled_is_in_the_file() -> None:
    """Zero-shot and shift accuracies of CyCLIP's table 1 are recalled ones; xCLIP's have an aggregator behind them."""
    numbers = json.loads(FILE.read_text())
    assert {number["objective"] for number in numbers if number["protocol"] == "zero_shot"} == {"xclip"}
    assert not [number for number in numbers if number["protocol"] == "shift"]
    assert all(0 < number["value"] < 100 and number["source"] and number["setting"] for number in numbers)
    places = [
        tuple(number[name] for name in ("set", "protocol", "variant", "metric", "objective")) for number in numbers
    ]
    assert len(set(places)) == len(places)
