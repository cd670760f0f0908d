"""A refresh that nobody started but the scheduler of a real server, and the run after it, which finds nothing new."""

import pytest
import yaml

from tests.flows import checkouts
from tests.flows.checkouts import FIRST, OF_ONE, SECOND, Scheduled
from tests.flows.server import PrefectServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_run_that_the_scheduler_made_takes_the_list_of_the_watched_folder(undisturbed: Scheduled) -> None:
    for run in (undisturbed.first, undisturbed.second):
        assert run["auto_scheduled"]
        assert run["created_by"]["type"] == "SCHEDULE"
    assert undisturbed.first["state_type"] == "COMPLETED"
    assert undisturbed.first["state"]["name"] == "Refreshed"
    assert checkouts.snapshots(undisturbed.project) == [FIRST, SECOND]
    shards = undisturbed.project.folder / f"data/shards/{SECOND}"
    assert sorted(path.name for path in shards.rglob("*.tar"))
    assert (shards / "manifest.parquet").is_file()


def test_only_what_the_new_snapshot_touches_changes_in_the_lock(undisturbed: Scheduled) -> None:
    before, after = undisturbed.before, checkouts.stages(undisturbed.project)
    new = {f"{stage}@{SECOND}" for stage in OF_ONE}
    assert after.keys() - before.keys() == new
    assert before.keys() <= after.keys()
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"select", "dataset", "index", "train@clip-0", "evaluate@clip-0", "compare", "audit"}


def test_the_refresh_is_one_commit_of_the_main_checkout(undisturbed: Scheduled) -> None:
    project = undisturbed.project
    subjects = project.run("git", "log", "--format=%s").stdout.splitlines()
    assert subjects[:2] == [f"Add snapshot {SECOND}", "deployment scheduled"]
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert not (project.folder / checkouts.WORKTREE).exists()
    assert project.run("git", "branch", "--list", "refresh/*").stdout == ""
    assert project.run("python", "-m", "dvc", "status").stdout.strip() == "Data and pipelines are up to date."


def test_the_next_scheduled_run_finds_nothing_new_and_changes_nothing(undisturbed: Scheduled) -> None:
    assert undisturbed.second["state_type"] == "COMPLETED"
    assert undisturbed.second["state"]["name"] == "NothingNew"
    committed = yaml.safe_load(undisturbed.project.run("git", "show", "HEAD:dvc.lock").stdout)
    assert committed["stages"] == checkouts.stages(undisturbed.project)


def test_every_stage_is_a_task_run_of_its_own(undisturbed: Scheduled, server: PrefectServer) -> None:
    states = server.tasks(undisturbed.first["id"])
    lock = checkouts.stages(undisturbed.project)
    assert lock.keys() <= states.keys()
    changed = {name for name in lock if lock[name] != undisturbed.before.get(name)}
    # to count the list's new pairs its stage source has run before the tasks
    assert {name for name in lock if "Reproduced" in states[name]} == changed - {f"source@{SECOND}"}
    assert states["proof: dvc repro"] == {"Completed"}
