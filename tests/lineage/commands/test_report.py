import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lineage.__main__ import app
from tests.lineage.site import trail_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    trail_project.lay_down(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_report_says_where_it_is_and_what_it_weighs(project: Path) -> None:
    done = CliRunner().invoke(app, ["report"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("report-lineage/index.html: 16 pairs, 2 models, 4 opted out; ")
    assert (project / "report-lineage/index.html").is_file()


def test_report_speaks_json(project: Path) -> None:
    done = CliRunner().invoke(app, ["report", "--json", "--out", "elsewhere"])
    found = json.loads(done.stdout)
    assert (found["out"], found["rows"], found["models"]) == ("elsewhere", 16, ["clip-0", "scorer"])
    every = [path for path in (project / "elsewhere").rglob("*") if path.is_file()]
    assert (found["files"], found["bytes"]) == (len(every), sum(path.stat().st_size for path in every))
    assert 0 < found["first_page_bytes"] < found["bytes"]


def test_an_unknown_revision_is_an_error_of_one_line(project: Path) -> None:
    done = CliRunner().invoke(app, ["report", "--rev", "nowhere"])
    assert isinstance(done.exception, ValueError)
    assert "nowhere: unknown revision" in str(done.exception)
    assert not (project / "report-lineage").exists()
