"""What the tests of whole flows share: one server, one web server of pictures, one small project that is copied."""

import datetime
from collections.abc import Iterator

import pytest

from tests.flows import checkouts, pictures
from tests.flows.checkouts import Scheduled
from tests.flows.pictures import Site
from tests.flows.server import PrefectServer, Serving
from tests.project import Project


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server for all tests; each has a deployment name of its own."""
    started = PrefectServer(tmp_path_factory.mktemp("server")).start()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The web that URL lists point to: one address for all tests, so that their lists are equal."""
    folder = tmp_path_factory.mktemp("site")
    pictures.write(folder, range(40))
    with Site(folder) as serving:
        yield serving


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Project:
    """A project with one snapshot, reproduced and committed; to be copied, never to be changed."""
    return checkouts.build(tmp_path_factory.mktemp("base"), site)


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, base: Project, site: Site, server: PrefectServer
) -> Scheduled:
    """A watched folder taken up by the scheduler: the refresh that others are compared with, and the run after it."""
    project = checkouts.copy(base, tmp_path_factory.mktemp("undisturbed"))
    pictures.write_list(project.folder / "incoming" / "s2.csv", site.base, checkouts.LISTED[checkouts.SECOND])
    anchor = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=25)
    every = {"interval": 60, "anchor_date": anchor.isoformat(), "timezone": "UTC"}
    name = checkouts.deploy(project, "scheduled", schedules=[every], parameters=checkouts.WATCHING)
    with Serving(project, server):
        deployment = server.deployment(name)["id"]
        first, second = (server.finished(deployment, number, within_s=600) for number in (0, 1))
    return Scheduled(project=project, before=checkouts.stages(base), first=first, second=second)
