"""The small project, laid down once."""

from pathlib import Path

import pytest

from lineage.questions import holdings
from lineage.questions.holdings import Holdings
from tests.lineage.questions import small


@pytest.fixture(scope="session")
def laid_down(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small project, to read only."""
    folder = tmp_path_factory.mktemp("small") / "project"
    small.build(folder)
    return folder


@pytest.fixture
def first(laid_down: Path) -> Holdings:
    """What its first revision has: all from DVC's cache."""
    return holdings.at(laid_down, "HEAD~1")


@pytest.fixture
def second(laid_down: Path) -> Holdings:
    """What the working tree has, which is its second revision."""
    return holdings.at(laid_down)
