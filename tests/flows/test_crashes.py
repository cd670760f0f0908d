"""kill -9 of a flow, of `serve`, of the server amid a refresh: it is told, nothing is orphaned, the bytes are equal."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows import checkouts, pictures
from tests.flows.checkouts import FIRST, GATES, LAST, SECOND, WORKTREE, Scheduled
from tests.flows.pictures import Site
from tests.flows.server import ENDS, PrefectServer, Serving, at_work, until
from tests.pipelines.processes import ended
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ENOUGH_S = 600.0
"""For a refresh on a machine that has other work, too."""
REFRESH = {"source": "incoming/s2.csv", "watch": False, "name": SECOND, "gates": GATES}
"""The list and the name of the undisturbed refresh, which watches the folder."""


class Refreshing:
    """A copy of the base project with the new list, served; its deployment has no schedule."""

    def __init__(self, base: Project, folder: Path, site: Site, server: PrefectServer, name: str) -> None:
        self.server, self.site = server, site
        self.project = checkouts.copy(base, folder)
        pictures.write_list(self.project.folder / "incoming" / "s2.csv", site.base, checkouts.LISTED[SECOND])
        self.name = checkouts.deploy(self.project, name, schedules=[], parameters=REFRESH)
        self.serving = Serving(self.project, server)

    @property
    def tree(self) -> Path:
        """The worktree, made or not."""
        return self.project.folder / WORKTREE

    def begin_download(self) -> tuple[str, int]:
        """Starts a run and returns its id and process when one picture is kept back and the stage waits for it."""
        self.site.keep_back(LAST)
        run, pid = self.begin()
        assert self.site.asked.wait(ENOUGH_S), "nobody asked for the picture"
        return run, pid

    def begin_train(self) -> tuple[str, int]:
        """Starts a run and returns its id and process when training has left its first checkpoint."""
        run, pid = self.begin()
        until("a checkpoint", lambda: list(self.tree.glob(".work/train-*/checkpoint.pt")), ENOUGH_S)
        return run, pid

    def begin(self) -> tuple[str, int]:
        """Starts a run and returns its id and the process that it goes on in."""
        run = self.server.trigger(self.name)
        return run, self.serving.flow_pid(run)

    def finish(self) -> dict[str, Any]:
        """Runs the same list once more and returns the flow run when it has ended."""
        return self.server.wait_for(self.server.trigger(self.name), ENDS, ENOUGH_S)

    def orphans(self) -> list[str]:
        """Returns what is at work in the checkout or its worktree, but `serve`, after some time to end."""
        deadline = time.monotonic() + 10
        while (left := at_work(self.project.folder, but=self.serving.pids)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


def kill(pid: int) -> None:
    """kill -9 of one process, and of nothing else."""
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)


@pytest.fixture(scope="module")
def silent(module_folder: Path, base: Project, site: Site, server: PrefectServer) -> Iterator[tuple[Refreshing, str]]:
    """A refresh that was killed together with its `serve`, so that nobody is left who could tell."""
    made = Refreshing(base, module_folder, site, server, "silent")
    run, pid = made.begin_download()
    made.serving.kill()
    kill(pid)
    site.release()
    yield made, run
    made.serving.stop()


def test_killed_with_its_serve_a_flow_leaves_nothing_at_work(silent: tuple[Refreshing, str]) -> None:
    made, run = silent
    assert made.orphans() == []
    assert made.server.run(run)["state_type"] == "RUNNING"
    assert checkouts.snapshots(made.project) == [FIRST]


@pytest.mark.parametrize("during", [pytest.param("download", marks=pytest.mark.soak), "train"])
def test_a_killed_flow_is_crashed_and_the_next_run_makes_the_same_bytes(
    during: str, tmp_path: Path, base: Project, site: Site, server: PrefectServer, undisturbed: Scheduled
) -> None:
    made = Refreshing(base, tmp_path, site, server, f"killed-in-{during}")
    with made.serving:
        run, pid = made.begin_download() if during == "download" else made.begin_train()
        kill(pid)
        site.release()
        assert made.orphans() == []
        out = {"download": f"data/raw/{SECOND}", "train": "models/clip-0"}[during]
        assert not (made.tree / out).exists()
        assert server.wait_for(run, ENDS, ENOUGH_S)["state_type"] == "CRASHED"
        assert checkouts.snapshots(made.project) == [FIRST]

        second = made.finish()
    assert second["state"]["name"] == "Refreshed"
    assert checkouts.outs(made.project) == checkouts.outs(undisturbed.project)
    assert made.orphans() == []
    if during == "train":
        assert server.tasks(second["id"])[f"download@{SECOND}"] == {"Cached"}


def test_a_killed_server_costs_no_work(tmp_path: Path, base: Project, site: Site, undisturbed: Scheduled) -> None:
    server = PrefectServer(tmp_path).start()
    made = Refreshing(base, tmp_path, site, server, "without-server")
    try:
        _, pid = made.begin_download()
        server.kill()
        site.release()
        raw = made.tree / "data/raw" / SECOND
        until("the stage has ended without a server", lambda: raw.exists() or ended(pid, within_s=0.1), ENOUGH_S)
        server.start()
        until("the flow has ended", lambda: ended(pid, within_s=0.1), ENOUGH_S)
        if checkouts.snapshots(made.project) == [FIRST]:
            with Serving(made.project, server):
                assert made.finish()["state"]["name"] == "Refreshed"
        runs = server.runs(deployment_id={"any_": [server.deployment(made.name)["id"]]})
        assert "Refreshed" in [run["state"]["name"] for run in runs]
        assert checkouts.outs(made.project) == checkouts.outs(undisturbed.project)
        assert made.orphans() == []
    finally:
        made.serving.stop()
        server.stop()


def test_where_nobody_tells_the_automation_marks_the_run_crashed_and_no_other(
    silent: tuple[Refreshing, str], undisturbed: Scheduled
) -> None:
    made, run = silent
    assert made.server.wait_for(run, ENDS, ENOUGH_S)["state_type"] == "CRASHED"
    for inner in made.server.below(run):
        assert made.server.wait_for(inner["id"], ENDS, ENOUGH_S)["state_type"] == "CRASHED"
    for done in (undisturbed.first, undisturbed.second):
        states = [made.server.run(done["id"]), *made.server.below(done["id"])]
        assert {state["state_type"] for state in states} == {"COMPLETED"}
