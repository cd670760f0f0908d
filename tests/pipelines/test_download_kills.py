"""A download that is killed, in whole or in part: nothing goes on behind its back, nothing is lost."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipelines.download_project import Project
from tests.pipelines.fault_server import FaultServer, answer, picture
from tests.pipelines.processes import command_line, descendants, ended

PATHS = [f"/{number}.png" for number in range(24)]


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["process group", "stage alone"])
def test_after_a_kill_nothing_is_left_running_and_the_next_run_makes_the_same(victim: str, tmp_path: Path) -> None:
    with FaultServer({path: answer(picture(number), delay_s=0.1) for number, path in enumerate(PATHS)}) as server:
        projects = [Project(tmp_path / name / "project", tmp_path / name / "store") for name in ("killed", "whole")]
        for project in projects:
            project.params(["s1"], {"download_threads": 1, "download_processes": 2}, host_connections=1)
            project.source("s1", [server.url(path) for path in PATHS])
        kill_midway(projects[0], victim, server)
        hits = num_pictures(server)
        assert 8 <= hits < 24
        made = projects[0].made("s1")
        assert num_pictures(server) - 24 <= 4  # only what was under way is asked for again
        assert made == projects[1].made("s1")


def num_pictures(server: FaultServer) -> int:
    return sum(server.hits[path] for path in PATHS)


def kill_midway(project: Project, victim: str, server: FaultServer) -> None:
    """Starts the stage, kills it after some answers, and waits for every process below it to end."""
    with start(project) as stage:
        while num_pictures(server) < 8:
            assert stage.poll() is None
            time.sleep(0.02)
        below = descendants(stage.pid)
        assert below
        if victim == "stage alone":
            os.kill(stage.pid, signal.SIGKILL)
        else:
            os.killpg(stage.pid, signal.SIGKILL)
    assert not [pid for pid in below if not ended(pid)]
    assert not (project.folder / "data/raw").exists()


def start(project: Project) -> subprocess.Popen[str]:
    return subprocess.Popen(
        project.command("s1"),
        cwd=project.folder,
        env=project.environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def is_worker(pid: int) -> bool:
    """Returns whether a process is a worker of img2dataset's pool, and at work: its logger has no shard open."""
    held = Path(f"/proc/{pid}/fd")
    try:
        return any(entry.readlink().suffix == ".tar" for entry in held.iterdir())
    except OSError:
        return False


def is_img2dataset(pid: int) -> bool:
    """Returns whether a process is img2dataset itself, with a worker under it."""
    return "-m pipelines.web.worker_pool" in command_line(pid) and any(map(is_worker, descendants(pid)))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("victim", "blow", "told"),
    [
        (is_worker, signal.SIGKILL, "one of its workers died"),
        (is_worker, signal.SIGSTOP, "nothing moved for 40 s"),
        (is_img2dataset, signal.SIGKILL, "it ended with status -9"),
    ],
)
def test_the_stage_itself_gets_over_what_happens_to_img2dataset(
    victim: Callable[[int], bool], blow: signal.Signals, told: str, tmp_path: Path
) -> None:
    answers = {path: answer(picture(number), delay_s=0.3) for number, path in enumerate(PATHS)}
    with FaultServer(answers) as server:
        projects = [Project(tmp_path / name / "project", tmp_path / name / "store") for name in ("struck", "whole")]
        for project in projects:
            project.params(["s1"], {"download_threads": 1}, host_connections=1, stall_s=40.0)
            project.source("s1", [server.url(path) for path in PATHS])
        with start(projects[0]) as stage:
            while not (struck := [pid for pid in descendants(stage.pid) if victim(pid)]):
                assert stage.poll() is None, stage.communicate()
                time.sleep(0.02)
            below = descendants(stage.pid)
            os.kill(struck[0], blow)
            _, stderr = stage.communicate(timeout=600)
        assert stage.returncode == 0, stderr
        assert f"img2dataset did not finish ({told}" in stderr
        assert all(server.hits[path] == 1 for path in PATHS)
        assert not [pid for pid in below if not ended(pid)]
        raw = projects[0].folder / "data/raw/s1"
        whole = projects[1].made("s1")
        assert sorted(whole) == sorted(path.name for path in raw.iterdir())
        for name in whole:
            assert (raw / name).read_bytes() == (projects[1].folder / "data/raw/s1" / name).read_bytes()
