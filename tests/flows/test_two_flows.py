"""Two flows at once on one checkout: they take turns, or the second says who is at work; the lock stays whole."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows import checkouts, pictures
from tests.flows.checkouts import FIRST, LAST, SECOND, Scheduled
from tests.flows.pictures import Site
from tests.flows.server import PrefectServer
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

Start = Callable[..., subprocess.Popen[str]]
OUTCOMES = ("error: ", "Refreshed: ", "NothingNew: ", "Completed: ")
REPRODUCE = ["reproduce"]
REFRESH = ["refresh", "incoming/s2.csv", "--name", SECOND, "--approve", "so few test rows prove no fall"]


@pytest.fixture
def project(tmp_path: Path, base: Project, server: PrefectServer) -> Project:
    """A copy of the base project whose commands talk to the server."""
    made = checkouts.copy(base, tmp_path)
    made.env |= server.env
    return made


@pytest.fixture
def start(project: Project, site: Site) -> Iterator[Start]:
    """Starts flows on their command line; what is still at work when the test has ended is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "flows", *words]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(command, cwd=project.folder, env=project.env, **pipes))
        return started[-1]

    yield begin
    site.release()
    for flow in started:
        if flow.stdout and not flow.stdout.closed:
            flow.kill()
            flow.communicate()


def outcome(flow: subprocess.Popen[str]) -> str:
    """Returns the line in which a flow says what came of it, once it has ended."""
    said, _ = flow.communicate()
    lines = [line for line in said.splitlines() if line.startswith(OUTCOMES)]
    assert len(lines) == 1, said
    return lines[0]


def test_two_reproduces_take_turns(project: Project, start: Start) -> None:
    def other_confidence(content: dict[str, Any]) -> None:
        content["compare"]["confidence"] = 0.9

    before = checkouts.stages(project)
    project.params(other_confidence)
    flows = [start(*REPRODUCE) for _ in range(2)]
    said = [flow.communicate()[0] for flow in flows]
    assert [flow.returncode for flow in flows] == [0, 0], said
    assert sorted("2 Reproduced" in words for words in said) == [False, True]
    after = checkouts.stages(project)
    assert {name for name in after if after[name] != before[name]} == {"compare", "audit"}
    assert after.keys() == before.keys()
    assert project.repro() == []


def test_the_second_of_two_refreshes_waits_or_refuses_and_a_reproduce_waits(
    project: Project, site: Site, undisturbed: Scheduled, start: Start
) -> None:
    pictures.write_list(project.folder / "incoming" / "s2.csv", site.base, checkouts.LISTED[SECOND])
    site.keep_back(LAST)
    first = start(*REFRESH)
    assert site.asked.wait(600), "nobody asked for the picture"
    second, third = start(*REFRESH), start(*REPRODUCE)
    refused = start(*REFRESH, "--refuse-if-busy")
    refusal = outcome(refused)
    site.release()
    assert refused.returncode == 1
    assert f"flow refresh, process {first.pid} is at work on this repository" in refusal
    assert [outcome(flow).partition(":")[0] for flow in (first, second, third)] == [
        "Refreshed",
        "NothingNew",
        "Completed",
    ]
    assert [flow.returncode for flow in (first, second, third)] == [0, 0, 0]
    assert checkouts.snapshots(project) == [FIRST, SECOND]
    assert checkouts.outs(project) == checkouts.outs(undisturbed.project)
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.repro() == []
