"""The deployments of prefect.yaml, and their parameters as hostile input: they are a form in the UI."""

import datetime
import re
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError

from flows import deployments
from flows.refresh import refresh
from flows.reproduce import reproduce
from flows.takedown import takedown

ROOT = Path(__file__).resolve().parents[2]


def test_every_deployment_of_prefect_yaml_is_one_of_our_flows() -> None:
    made = {f"{made.flow_name}/{made.name}": made for made in deployments.load(ROOT / "prefect.yaml")}
    assert set(made) == {"refresh/weekly", "verify/nightly", "takedown/on-demand", "reproduce/on-demand"}
    for deployment in made.values():
        assert deployment.concurrency_limit is None, "its lease ends runs that pause or outlive the server"
        assert deployment.enforce_parameter_schema
    schedules: Any = made["refresh/weekly"].schedules
    assert [schedule.schedule.cron for schedule in schedules] == ["0 3 * * 1"]


def test_the_automation_knows_every_state_that_flows_end_in() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "flows").glob("*.py"))
    named = set(re.findall(r'(?:Completed|Failed)\(\s*name="(\w+)"', code)) - {"Cached"}
    assert {"Refreshed", "Held", "TakenDown", "Verified"} <= named
    assert named | {"Impact", "Completed", "Failed", "Crashed"} <= set(deployments._ENDS)


def test_every_parameter_has_words_for_the_form() -> None:
    for deployment in deployments.load(ROOT / "prefect.yaml"):
        assert deployment.description
        for name, shown in deployment._parameter_openapi_schema.properties.items():
            assert len(shown.get("description", "")) > 10, f"{deployment.flow_name}: {name}"


def test_an_interval_may_say_when_it_begins(tmp_path: Path) -> None:
    text = (ROOT / "prefect.yaml").read_text()
    changed = text.replace('- cron: "0 3 * * 1"', '- interval: 3600\n        anchor_date: "2026-11-01T03:00:00+00:00"')
    (tmp_path / "prefect.yaml").write_text(changed)
    (weekly,) = [made for made in deployments.load(tmp_path / "prefect.yaml") if made.name == "weekly"]
    (found,) = weekly.schedules or []
    schedule: Any = found
    assert schedule.schedule.interval == datetime.timedelta(hours=1)
    assert schedule.schedule.anchor_date == datetime.datetime(2026, 11, 1, 3, tzinfo=datetime.UTC)


@pytest.mark.parametrize("entrypoint", ["flows/nowhere.py:refresh", "flows/refresh.py:nothing", "None"])
def test_an_unknown_entrypoint_is_told(tmp_path: Path, entrypoint: str) -> None:
    text = (ROOT / "prefect.yaml").read_text().replace("flows/refresh.py:refresh", entrypoint)
    (tmp_path / "prefect.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"weekly\): entrypoint .*: no such flow"):
        deployments.load(tmp_path / "prefect.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "`deployments` must be a list"),
        ("foo", "`deployments` must be a list"),
        ("deployments: {a: 1}", "`deployments` must be a list"),
        ("deployments: [{entrypoint: flows/refresh.py:refresh}]", r"deployments\[0\]: expected a mapping with a name"),
        ("deployments: [{name: a, entrypoint: 'flows/graph.py:read'}]", "no such flow"),
        ("deployments: [{name: a, entrypoint: 'flows/verify.py:verify', parameters: {bogus: 1}}]", "bogus is none of"),
        (
            "deployments: [{name: a, entrypoint: 'flows/verify.py:verify', schedules: [{intervall: 5}]}]",
            "found intervall",
        ),
        ("deployments: [{name: a, entrypoint: 'flows/verify.py:verify', schedules: [{cron: 'x'}]}]", r"\(a\)"),
    ],
)
def test_a_broken_file_is_one_line_that_names_the_deployment(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "prefect.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        deployments.load(tmp_path / "prefect.yaml")


def test_without_prefect_yaml_it_says_where_to_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="root of the project"):
        deployments.load(tmp_path / "prefect.yaml")


@pytest.mark.parametrize(
    ("flow", "content"),
    [
        (refresh, {"source": "x.csv", "name": "s2; rm -rf ~"}),
        (refresh, {"source": "x.csv", "name": "../s2"}),
        (refresh, {"source": "x.csv", "name": "S2"}),
        (refresh, {"source": ""}),
        (refresh, {"source": "x.csv", "max_parallel": 0}),
        (refresh, {"source": "x.csv", "gates": {"max_metric_fall": -1}}),
        (refresh, {"source": "x.csv", "gates": {"maximum": 1}}),
        (refresh, {"source": "x.csv", "listed": {"map": ["--name=x"]}}),
        (refresh, {"source": "x.csv", "listed": {"preset": "--help"}}),
        (refresh, {"source": "x.csv", "push": {"data_remote": "--all"}}),
        (refresh, {"source": "x.csv", "push": {"git_remote": "ext::sh -c x"}}),
        (refresh, {"source": "x.csv", "on_hold": "ask"}),
        (reproduce, {"targets": ["--force"]}),
        (reproduce, {"targets": ["train@clip-0; x"]}),
        (takedown, {"optouts": []}),
        (takedown, {"optouts": ["http://a.test/1.png"], "kind": "name"}),
        (takedown, {"optouts": ["http://a.test/1.png"], "reference": "a\nb"}),
        (takedown, {"optouts": ["http://a.test/1.png"], "evaluation_sets": "data/sets/emoji"}),
    ],
)
def test_hostile_parameters_are_refused_before_anything_runs(flow: Any, content: dict[str, Any]) -> None:
    with pytest.raises(ParameterTypeError):
        flow.validate_parameters(content)


def test_plain_parameters_are_taken() -> None:
    content = {"source": "s3://lists/11.parquet", "name": "s20261101", "listed": {"map": ["caption=ALT_TEXT"]}}
    taken = refresh.validate_parameters(content)
    assert taken["listed"].words() == ["--map", "caption=ALT_TEXT"]
