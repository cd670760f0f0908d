"""`lineage verify` on the command line: what it prints, in words and JSON, and how it exits."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from lineage import verify as verifying
from lineage.__main__ import app
from lineage.checks.findings import Finding, Report
from lineage.commands import verify
from tests.lineage import verify_project as made

slow = [pytest.mark.slow, pytest.mark.timeout(900)]
HOSTILE = Finding(check="rows", what="a\x1b[31m[bold]\u202eb\nc", state="broken", problem="\x07", remedy="[/]")


def printed(found: list[Finding], capsys: pytest.CaptureFixture[str]) -> str:
    verify.show(Report(revision="the working tree", paths=(), findings=tuple(found)))
    return capsys.readouterr().out


def test_signs_that_steer_a_terminal_and_markup_stay_text(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([HOSTILE], capsys)
    assert "a\ufffd[31m[bold]\ufffdb\ufffdc" in text
    assert "[/]" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_the_worst_comes_first_and_a_long_table_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    states = ["good", "unchecked", "unattested", "broken"] * 20
    text = printed([Finding(check="edge", what=f"n{n}", state=state) for n, state in enumerate(states)], capsys)  # type: ignore[arg-type]
    assert text.index("broken") < text.index("unattested")
    assert "... and 20 more: --json lists all" in text
    assert made.counts(text) == (60, 20, 20, 20)


def test_what_is_good_needs_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed([Finding(check="edge", what="a")], capsys)
    assert text == "the working tree: 1 checked, 0 not checkable here, 0 unattested, 0 broken\n"


def test_a_narrow_table_folds_and_loses_nothing() -> None:
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(verify.table([Finding(check="rows", what="data/" + "x" * 90, state="broken")]))
    assert console.export_text().count("x") == 90


@pytest.mark.parametrize("state", ["good", "unchecked", "unattested", "broken"])
def test_strict_wants_all_of_it_here_and_attested(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report(revision="HEAD", paths=(), findings=(Finding(check="edge", what="a", state=state),))  # type: ignore[arg-type]
    monkeypatch.setattr(verifying, "verify", lambda *_, **__: report)
    assert isinstance(CliRunner().invoke(app, ["verify"]).exception, ValueError) == (state == "broken")
    assert isinstance(CliRunner().invoke(app, ["verify", "--strict"]).exception, ValueError) == (state != "good")


def test_the_shard_that_was_packed_anew_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = Finding(check="rebuild", what="data/shards/s1/train/00002.tar")
    report = Report(revision="the working tree", paths=(), findings=(packed,))
    monkeypatch.setattr(verifying, "verify", lambda *_, **__: report)
    assert "; packed anew: data/shards/s1/train/00002.tar\n" in CliRunner().invoke(app, ["verify"]).stdout


def test_the_command_line_lists_its_questions() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    for question in ("trace", "verify"):
        assert f" {question} " in shown


class TestOnAProject:
    pytestmark = slow

    def test_all_is_well(self, real: Path) -> None:
        done = made.cli(real, "--strict")
        assert (done.returncode, done.stderr) == (0, "")
        assert made.counts(done.stdout)[1:] == (0, 0, 0)
        (line,) = done.stdout.splitlines()
        assert line.startswith("the working tree: ")

    def test_from_a_folder_below_and_at_a_revision(self, real: Path) -> None:
        done = made.cli(real / "models", "clip-0", "--rev", "HEAD~3", "--json")
        content = json.loads(done.stdout)
        assert done.returncode == 0
        assert content["paths"] == ["models/clip-0"]
        assert len(content["revision"]) == 12
        assert content["findings"] == []
        assert set(content) == {
            *("revision", "paths", "checked", "not_checkable_here", "unattested", "broken", "by_check", "rebuilt"),
            "findings",
        }

    def test_something_broken_is_one_line_and_status_1(self, victim: Path) -> None:
        made.flip(victim / "data/shards/s1/train/00000.tar", 600)
        done = made.cli(victim)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: broken: data/shards/s1: train/00000.tar is ")
        assert line.endswith(" (and 2 more)")
        assert "what to do" in done.stdout
        assert "dvc checkout data/shards/s1" in done.stdout
        again = made.cli(victim, "--json")
        assert again.returncode == 1
        assert json.loads(again.stdout)["broken"] == 3

    @pytest.mark.parametrize(
        ("args", "says"),
        [
            (["models/none"], "models/none: no stage makes it"),
            (["/etc/passwd"], "/etc/passwd: not a path inside the project"),
            (["--rev", "none"], "none: unknown revision"),
            (
                ["--rebuild-shard", "s1/train/00009.tar"],
                "s1/train/00009.tar: no manifest in the working tree lists such",
            ),
        ],
    )
    def test_a_users_mistake_is_one_line(self, real: Path, args: list[str], says: str) -> None:
        done = made.cli(real, *args)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: {says}")
