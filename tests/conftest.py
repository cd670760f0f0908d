"""What holds for every test."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

_SHARED = "undisturbed: Scheduled"
"""Asks for a fixture that takes minutes to make: files that hold this go to the same worker, which makes it once."""


class Whole(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives files to workers whole, and files that share what takes minutes to make to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return _SHARED if _SHARED in (self.config.rootpath / file).read_text(encoding="utf-8") else file


@pytest.hookimpl(optionalhook=True)  # unknown under `-p no:xdist`
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Whole | None:
    """Takes the place of `--dist loadfile`: `--dist loadgroup` does not group under pytest 9."""
    return Whole(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)  # of those that are left
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts files with tests that may take long before the others: workers take files in this order.

    One that is begun last would leave the other workers idle.
    """
    limits: dict[Path, float] = {}
    for item in items:
        own = item.get_closest_marker("timeout")
        limit = float(own.args[0] if own else config.getini("timeout"))
        limits[item.path] = max(limits.get(item.path, 0.0), limit)
    items.sort(key=lambda item: -limits[item.path])


@pytest.fixture(scope="module")
def module_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of a module's own, gone when the module ends unless a test has failed: a project takes 200 MB."""
    folder = tmp_path_factory.mktemp(request.path.stem)
    yield folder
    if not request.session.testsfailed:
        shutil.rmtree(folder)


def pytest_configure() -> None:
    """Takes absl's log handler away, which mlcroissant brings, gives our own logger its level, times no example.

    When closed, absl's closes what it took for stderr when it was made: here the file that pytest captures output in.
    """
    from absl import logging as absl_logging

    logging.getLogger().removeHandler(absl_logging.get_absl_handler())
    # a level of its own, as in every stage: Beam is kept quiet by the root's
    logging.getLogger("clipline").setLevel(logging.WARNING)
    hypothesis.settings.register_profile("untimed", deadline=None)
    hypothesis.settings.load_profile("untimed")
