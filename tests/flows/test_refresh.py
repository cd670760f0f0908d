"""Refreshes that are held: the main checkout stays as it was, byte for byte, until a person has said what to do."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.flows import checkouts, pictures
from tests.flows.pictures import Site
from tests.flows.server import PrefectServer, until
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NEW = range(30, 40)
OWN = (".git", ".dvc", ".worktrees", ".work", "store")
"""Where git, DVC and stages keep what is no result; the store only grows."""


@pytest.fixture(scope="module")
def project(base: Project, server: PrefectServer, module_folder: Path) -> Project:
    """A copy whose select stops where too much drops; the tests below go on from each other."""
    made = checkouts.copy(base, module_folder)
    made.env |= server.env
    made.run("python", "-m", "dvc", "remote", "add", "--quiet", "--default", "near", str(made.folder.parent / "remote"))
    made.params(lambda content: content["select"].update(on_excess="fail", max_drop_frac=0.8))
    made.commit("stop where too much drops")
    made.repro()
    made.commit("reproduced")
    return made


def refresh(project: Project, *words: str) -> "subprocess.CompletedProcess[str]":
    return project.run("python", "-m", "flows", "refresh", *words, check=False)


def write_rows(project: Project, site: Site, name: str, captions: dict[int, str]) -> Path:
    path = project.folder.parent / name
    rows = [f"{site.base}/{pictures.file_name(number)},{caption}" for number, caption in captions.items()]
    path.write_text("url,caption\n" + "\n".join(rows) + "\n")
    return path


def contents(project: Project) -> dict[str, bytes]:
    files = [path for path in project.folder.rglob("*") if path.is_file()]
    named = {path.relative_to(project.folder): path for path in files}
    mine = {name: path for name, path in named.items() if name.parts[0] not in OWN and "__pycache__" not in name.parts}
    return {str(name): path.read_bytes() for name, path in mine.items()}


def shuffled() -> dict[int, str]:
    """Captions that name the colour of another picture."""
    return {number: f"picture {number} with a {pictures.colour(number + 1 + number % 3)} square" for number in NEW}


def test_a_list_of_which_one_rule_drops_nearly_all_is_held(project: Project, site: Site) -> None:
    before, head = contents(project), project.run("git", "rev-parse", "HEAD").stdout
    bad = dict.fromkeys(NEW, "x") | {30: "picture 30 with a red square"}
    done = refresh(project, str(write_rows(project, site, "short.csv", bad)), "--name", "short")
    assert done.returncode == 1
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert re.match(r"error: Held: select: the rules drop \d+\.\d% of the 10 rows of short, more than", error), error
    assert "goes by caption" in error
    assert "kept in" in error
    assert contents(project) == before
    assert project.run("git", "rev-parse", "HEAD").stdout == head
    assert (project.folder / ".worktrees/refresh-short/data/lists/short").is_dir()


def test_another_list_under_the_name_of_one_that_is_held_is_refused(project: Project, site: Site) -> None:
    done = refresh(project, str(write_rows(project, site, "other.csv", shuffled())), "--name", "short")
    assert done.returncode == 1
    assert "python -m flows drop refresh-short" in done.stderr


def test_what_nobody_will_finish_is_dropped(project: Project) -> None:
    project.run("python", "-m", "flows", "drop", "short")
    assert list((project.folder / ".worktrees").glob("*")) == []
    done = project.run("python", "-m", "flows", "drop", "short", check=False)
    assert done.returncode == 1
    assert "no such worktree" in done.stderr


def test_shuffled_captions_pause_it_and_a_no_throws_it_away(
    project: Project, site: Site, server: PrefectServer
) -> None:
    before = contents(project)
    source = str(write_rows(project, site, "shuffled.csv", shuffled()))
    command = [sys.executable, "-m", "flows", "refresh", source, "--name", "shuffled", "--pause"]
    with subprocess.Popen(command, cwd=project.folder, env=project.env, stderr=subprocess.PIPE, text=True) as started:

        def paused() -> dict[str, Any] | None:
            assert started.poll() is None, started.stderr
            found = server.runs(state={"type": {"any_": ["PAUSED"]}})
            return found[-1] if found else None

        run = until("the refresh is paused", paused, 240)
        assert contents(project) == before
        other = project.run("python", "-m", "flows", "verify", "--refuse-if-busy")
        assert "Verified" in other.stdout, "a refresh that waits for a person keeps nobody else waiting"
        server.ask("POST", f"/flow_runs/{run['id']}/resume", {"run_input": {"approve": False, "reason": "a bad list"}})
        _, said = started.communicate(timeout=240)
    assert started.returncode == 1
    assert "error: Rejected: a bad list" in said
    assert contents(project) == before
    assert list((project.folder / ".worktrees").glob("*")) == []


def test_shuffled_captions_are_held_and_taken_when_a_person_says_why(project: Project) -> None:
    before, source = contents(project), str(project.folder.parent / "shuffled.csv")
    held = refresh(project, source, "--name", "shuffled")
    assert "error: Held: captions of shuffled: the scorer finds a picture's own caption closer" in held.stderr
    assert contents(project) == before
    (project.folder / "runs/loose.jsonl").write_text("{}\n")
    blocked = refresh(project, source, "--name", "shuffled", "--approve", "colours do not matter")
    assert "error: Held: uncommitted changes in the main checkout: runs/loose.jsonl" in blocked.stderr
    (project.folder / "runs/loose.jsonl").unlink()
    assert contents(project) == before
    done = refresh(project, source, "--approve", "colours do not matter", "--push")
    assert "Refreshed: snapshot shuffled, 10 new pairs" in done.stdout
    assert checkouts.snapshots(project) == ["s1", "shuffled"]
    assert "approved: colours do not matter" in project.run("git", "log", "-1", "--format=%B").stdout
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.repro() == []
    missing = project.run("python", "-m", "dvc", "status", "--cloud", "--json").stdout
    assert json.loads(missing[missing.index("{") :]) == {}, "all of it was pushed"
    assert not list((project.folder / ".work").glob("lists/*"))


def test_pairs_that_are_there_already_are_nothing_new(project: Project, site: Site) -> None:
    head = project.run("git", "rev-parse", "HEAD").stdout
    again = refresh(project, str(project.folder.parent / "shuffled.csv"))
    assert "NothingNew" in again.stdout
    fewer = write_rows(project, site, "fewer.csv", dict(list(shuffled().items())[:5]))
    done = refresh(project, str(fewer), "--name", "fewer")
    assert "NothingNew: every pair of fewer is in an earlier snapshot" in done.stdout
    assert project.run("git", "rev-parse", "HEAD").stdout == head
    assert list((project.folder / ".worktrees").glob("*")) == []


def test_a_list_that_cannot_be_read_is_one_line_that_names_it(project: Project, tmp_path: Path) -> None:
    (tmp_path / "broken.csv").write_text("a,b\n1,2\n")
    for source, words in (("/nowhere.csv", "/nowhere.csv"), (str(tmp_path / "broken.csv"), "broken.csv")):
        done = refresh(project, source, "--name", "broken")
        assert done.returncode == 1
        (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert words in error
    project.run("python", "-m", "flows", "drop", "broken", check=False)
