"""What runs, and what is not even asked, decided without running it."""

from pathlib import Path

import pytest
from prefect.states import Completed, Failed

from flows import graph, outcomes, reproduce

GRAPH = graph.Graph(
    parents={
        "source": frozenset(),
        "lists": frozenset(),
        "select": frozenset({"source"}),
        "train@a": frozenset({"select"}),
        "train@b": frozenset({"select", "lists"}),
        "report": frozenset({"train@a", "train@b"}),
    }
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> reproduce._Run:
    made = reproduce._Run(tmp_path, GRAPH, {"source"}, 2, None)
    made.left = list(GRAPH)
    monkeypatch.setattr(outcomes, "lock", lambda _: {"train@a": entry("train@a", "new")})
    return made


def entry(name: str, md5: str) -> dict[str, list[dict[str, str]]]:
    return {"outs": [{"path": name, "md5": md5}]}


def done(run: reproduce._Run, name: str, before: dict[str, dict[str, list[dict[str, str]]]] | None = None) -> None:
    run.left.remove(name)
    run._note(name, Completed(name="Reproduced"), before or {})


def test_a_stage_is_ready_when_all_it_reads_is_done(run: reproduce._Run) -> None:
    assert run._ready() == ["source", "lists"]
    done(run, "source")
    assert run._ready() == ["lists", "select"]
    done(run, "lists")
    done(run, "select")
    assert run._ready() == ["train@a", "train@b"]


def test_what_was_changed_is_asked_and_what_only_lies_below_it_is_not(run: reproduce._Run) -> None:
    assert not run._is_settled("source")
    assert run._is_settled("lists")
    done(run, "source")
    assert run._is_settled("select"), "source ran, but its outs are what they were"


def test_below_other_outs_every_stage_is_asked(run: reproduce._Run) -> None:
    done(run, "train@a", before={"train@a": entry("train@a", "old")})
    done(run, "train@b")
    assert not run._is_settled("report")


def test_a_failure_stops_only_what_is_below_it(run: reproduce._Run) -> None:
    done(run, "source")
    done(run, "lists")
    done(run, "select")
    run.left.remove("train@a")
    run._note("train@a", Failed(message="train.batch_size: too few rows"), {})
    assert run._ready() == ["train@b"]
    done(run, "train@b")
    assert run._ready() == []
    error = reproduce.StagesFailedError(run.said, run.left)
    assert str(error) == "train@a: train.batch_size: too few rows (not run for that: report)"
