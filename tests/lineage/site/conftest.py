"""The small project and its report, made once."""

from pathlib import Path

import pytest

from lineage.site import build, holding
from tests.lineage.site import trail_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project, to break."""
    trail_project.lay_down(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the small project, to read."""
    root = tmp_path_factory.mktemp("report")
    trail_project.lay_down(root)
    return build.build(holding.holding(root, None), root / "report-lineage").out
