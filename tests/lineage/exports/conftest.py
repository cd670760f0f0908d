"""The small project of the export tests, and the command line in it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lineage.conftest import ENV
from tests.lineage.exports import small

Export = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "project"
    small.lay_down(folder)
    return folder


@pytest.fixture
def checkout(laid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project to break; the current folder is its root."""
    folder = tmp_path / "checkout"
    shutil.copytree(laid, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def export(checkout: Path) -> Export:
    """Runs `python -m lineage export ...` in the current folder; a warning of Python is an error."""

    def run(*args: str, cwd: Path = checkout, **env: str) -> subprocess.CompletedProcess[str]:
        path = str(Path(__file__).parents[3])
        command = [sys.executable, "-W", "error", "-m", "lineage", "export", *args]
        settings = {**ENV, "PYTHONPATH": path, "NO_PROXY": "127.0.0.1", **env}
        settings = {key: value for key, value in settings.items() if key != "OPENLINEAGE_API_KEY" or key in env}
        return subprocess.run(command, cwd=cwd, env=settings, capture_output=True, text=True, check=False)

    return run
