"""What holds for every test."""

import logging
from pathlib import Path

import pytest

_SHARED = ("undisturbed", "base")
"""Fixtures that take minutes, dearest first: tests that ask for one are run by one worker, which makes it once."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups tests for `--dist loadgroup`: by file, and files that share what takes minutes to make with each other."""
    asked: dict[Path, set[str]] = {}
    for item in items:
        asked.setdefault(item.path, set()).update(getattr(item, "fixturenames", ()))
    for item in items:
        shared = [name for name in _SHARED if name in asked[item.path]]
        item.add_marker(pytest.mark.xdist_group(shared[0] if shared else str(item.path)))


def pytest_configure() -> None:
    """Takes absl's log handler away, which mlcroissant brings, and gives our own logger its level.

    When closed, absl's closes what it took for stderr when it was made: here the file that pytest captures output in.
    """
    from absl import logging as absl_logging

    logging.getLogger().removeHandler(absl_logging.get_absl_handler())
    # a level of its own, as in every stage: Beam is kept quiet by the root's
    logging.getLogger("clipline").setLevel(logging.WARNING)
