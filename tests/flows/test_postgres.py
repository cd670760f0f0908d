"""A Prefect server with its database in Postgres: runs of our flows are recorded there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows import checkouts, postgres
from tests.flows.postgres import Postgres
from tests.flows.server import PrefectServer
from tests.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    programs = postgres.programs()
    if programs is None:
        pytest.skip("Postgres is not installed: apt-get install postgresql")
    with Postgres(programs) as started:
        yield started


@pytest.fixture(scope="module")
def on_postgres(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    started = PrefectServer(tmp_path_factory.mktemp("server"), database.url).start()
    yield started
    started.stop()


def test_a_run_a_stage_is_recorded_in_postgres(
    database: Postgres, on_postgres: PrefectServer, base: Project, tmp_path: Path
) -> None:
    project = checkouts.copy(base, tmp_path)
    project.env |= on_postgres.env
    index = project.folder / "pipelines/index.py"
    index.write_text(index.read_text() + "\n# a comment\n")
    project.run("python", "-m", "flows", "reproduce")
    flows = "select f.name, r.state_type from flow_run r join flow f on r.flow_id = f.id"
    assert database.query(flows) == ["reproduce|COMPLETED"]
    states = dict(row.split("|") for row in database.query("select name, state_name from task_run"))
    assert states.pop("index") == "Reproduced"
    assert states.pop("pack@s1") == "Cached"
    assert {states.pop(name) for name in ("proof: dvc repro", "artifacts")} == {"Completed"}
    assert set(states.values()) <= {"Cached", "Reproduced"}
    keys = "select split_part(key, '-', 1) from artifact where key is not null"
    assert {"stages", "funnel", "metrics", "lineage"} <= set(database.query(keys))
    assert not (on_postgres.home / "prefect.db").exists()


def test_the_automation_for_killed_runs_is_made_once(
    database: Postgres, on_postgres: PrefectServer, base: Project, tmp_path: Path
) -> None:
    project = checkouts.copy(base, tmp_path)
    project.env |= on_postgres.env
    for _ in range(2):
        project.run("python", "-m", "flows", "setup")
    assert len(database.query("select id from automation")) == 1
