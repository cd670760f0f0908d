"""impact names what opt-outs touch, by every kind, and the stages that a takedown reruns."""

import resource
from typing import Any

import pytest

from lineage import dag
from lineage.questions import impact
from lineage.questions.holdings import Holdings
from tests.lineage.questions import small
from tests.lineage.questions.small import sha, uid


def told(held: Holdings, *opt_outs: impact.OptOut) -> dict[str, Any]:
    graph = dag.load(held.revision)
    return impact.impact(held, opt_outs, graph, dict.fromkeys(graph.instances, 2.0))


@pytest.mark.parametrize(
    ("kind", "value", "numbers"),
    [
        ("url_sha256", sha("http://a.test/1.png"), {1}),
        ("host_sha256", sha("b.test"), {3, 4}),
        ("host_sha256", sha("a.test"), {1, 2}),
        ("sha256", sha("picture 2"), {2}),
        ("phash", f"{0b111:016x}", {1, 2}),
        ("phash", f"{0xFF03:016x}", {3}),
        ("url_sha256", "0" * 64, set()),
    ],
)
def test_each_kind_names_its_rows(first: Holdings, kind: str, value: str, numbers: set[int]) -> None:
    found = impact.touched(first, "s1", [(kind, value)])
    order = sorted(small.URLS["s1"], key=lambda number: uid("s1", number))
    assert {order[row] for row in found.row_n} == numbers
    assert {impact.BY[by] for by in found.by_n} == ({kind} if numbers else set())


def test_a_pair_that_several_name_counts_once(first: Holdings) -> None:
    both = [("sha256", sha("picture 1")), ("url_sha256", sha("http://a.test/1.png"))]
    assert told(first, *both)["by"] == {"url_sha256": 2}
    found = impact.touched(first, "s1", both)
    assert [impact.BY[by] for by in found.by_n] == ["url_sha256"]


def test_what_is_touched_is_told_whole(first: Holdings) -> None:
    found = told(first, ("url_sha256", sha("http://img.b.test/3.png")))
    assert (found["pairs"], found["kept"], found["copies"]) == (1, 1, 0)
    assert found["shards"] == ["data/shards/s1/train/00000.tar"]
    assert found["models"] == [{"model": "clip-0", "pairs": 1, "times": 10, "of_all": 10 / 21}]
    assert found["metrics"] == ["results/clip-0/metrics.json"]
    assert found["data_set"]["digest"] == "d" * 64


def test_a_pair_that_no_model_saw_costs_no_training(first: Holdings) -> None:
    found = told(first, ("url_sha256", sha("http://b.test/gone.png")))
    assert (found["kept"], found["models"], found["metrics"], found["shards"]) == (0, [], [], [])
    names = [stage["stage"] for stage in found["stages"]]
    assert set(names) == {
        *("source@s1", "download@s1", "measure@s1", "screen", "embed@s1", "select", "pack@s1", "trail@s1"),
        *("dataset", "audit"),
    }
    assert found["seconds"] == 2.0 * len(names)


def test_what_the_scorer_saw_reruns_everything_after_it(first: Holdings) -> None:
    names = {stage["stage"] for stage in told(first, ("url_sha256", sha("http://a.test/2.png")))["stages"]}
    assert {"scorer", "embed@s1", "embed@s2", "train@clip-0", "evaluate@clip-0"} <= names
    assert "source@s2" not in names


def test_what_stands_for_another_changes_the_others_choice(first: Holdings) -> None:
    found = told(first, ("url_sha256", sha("http://img.b.test/3.png")))
    names = [stage["stage"] for stage in found["stages"]]
    certain = {stage["stage"] for stage in found["stages"] if stage["is_certain"]}
    assert {"pack@s1", "train@clip-0"} <= certain
    assert {"pack@s2"} <= set(names) - certain
    assert names.index("select") < names.index("pack@s1") < names.index("dataset") < names.index("train@clip-0")


def test_thousands_of_opt_outs_open_each_file_once(first: Holdings) -> None:
    many = [(kind, f"{number:064x}") for kind in ("url_sha256", "sha256") for number in range(5000)]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limit[1]))
    try:
        assert told(first, *many, ("sha256", sha("picture 1")))["pairs"] == 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_a_recipe_without_the_rule_is_refused(first: Holdings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Holdings, "params", lambda _: {"select": {"rules": [{"rule": "side"}]}})
    with pytest.raises(ValueError, match="has no rule opt_out"):
        told(first, ("sha256", sha("picture 1")))
