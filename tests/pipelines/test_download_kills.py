"""A download that is killed: nothing goes on behind its back, nothing is lost."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.pipelines.download_project import Project
from tests.pipelines.fault_server import FaultServer, answer, picture
from tests.pipelines.test_downloader import ended


def descendants(pid: int) -> set[int]:
    """Returns the pids of all processes below a process."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found: set[int] = set()
    pending = [pid]
    while pending:
        below = children.get(pending.pop(), [])
        found.update(below)
        pending += below
    return found


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["process group", "stage alone"])
def test_after_a_kill_nothing_is_left_running_and_the_next_run_makes_the_same(victim: str, tmp_path: Path) -> None:
    paths = [f"/{number}.png" for number in range(24)]
    answers = {path: answer(picture(number), delay_s=0.1) for number, path in enumerate(paths)}
    with FaultServer(answers) as server:
        projects = [Project(tmp_path / name / "project", tmp_path / name / "store") for name in ("killed", "whole")]
        for project in projects:
            project.params(["s1"], {"download_threads": 1, "download_processes": 2})
            project.source("s1", [server.url(path) for path in paths])
        kill_midway(projects[0], victim, server)
        hits = server.hits.total()
        assert 8 <= hits < 24
        made = projects[0].made("s1")
        assert server.hits.total() - 24 <= 4  # only what was under way is asked for again
        assert made == projects[1].made("s1")


def kill_midway(project: Project, victim: str, server: FaultServer) -> None:
    """Starts the stage, kills it after some answers, and waits for every process below it to end."""
    with subprocess.Popen(
        project.command("s1"),
        cwd=project.folder,
        env=project.environment(),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as stage:
        while server.hits.total() < 8:
            assert stage.poll() is None
            time.sleep(0.02)
        below = descendants(stage.pid)
        assert len(below) >= 3  # img2dataset and its workers
        if victim == "stage alone":
            os.kill(stage.pid, signal.SIGKILL)
        else:
            os.killpg(stage.pid, signal.SIGKILL)
    assert not [pid for pid in below if not ended(pid)]
    assert not (project.folder / "data/raw").exists()
