"""kill -9 of a takedown once the worktree's list has lost its row: nothing is lost, and the next run ends it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows import checkouts, pictures
from tests.flows.pictures import Site
from tests.flows.searching import holding
from tests.flows.server import PrefectServer, at_work, until
from tests.flows.two_snapshots import live, runs
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def state(project: Project) -> dict[str, bytes]:
    """Returns the files of the main checkout's lists and store."""
    folders = (project.folder / "data/lists", project.folder / "store")
    return {str(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def test_a_killed_takedown_has_lost_nothing_and_the_next_run_ends_it(
    base: Project, server: PrefectServer, site: Site, tmp_path: Path
) -> None:
    project = checkouts.copy(base, tmp_path)
    project.env |= server.env
    url = f"{site.base}/{pictures.file_name(4)}"
    uid, before = live(project, "s1")[url], state(project)
    head, downloads = project.run("git", "rev-parse", "HEAD").stdout, runs(project, "download")
    command = [sys.executable, "-m", "flows", "takedown", url]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=project.folder, env=project.env, start_new_session=True, stdout=log, stderr=log
        )
    trees = project.folder / ".worktrees"
    until("the list without its row", lambda: list(trees.glob("*/data/lists/s1/opted_out.parquet")), 600.0)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until("the end of what it had started", lambda: not at_work(project.folder, but=[]), 30.0)
    assert project.run("git", "rev-parse", "HEAD").stdout == head
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert {name: content for name, content in state(project).items() if name in before} == before
    done = project.run("python", "-m", "flows", "takedown", url)
    assert "TakenDown: 1 pairs" in done.stdout
    assert "0 URLs asked of the web" in done.stdout + done.stderr
    wanted = {"url": url.encode(), "caption": pictures.caption(4).encode()}
    wanted["picture"] = (site.folder / pictures.file_name(4)).read_bytes()
    assert holding(project.folder, wanted) == {}
    assert uid not in live(project, "s1").values()
    assert runs(project, "download") == [*downloads, "s1"]
