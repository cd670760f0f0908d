"""Every question on the command line: answers, JSON, exit statuses, and hostile text that stays text."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lineage import records
from lineage.commands import impact, shown
from tests.lineage.conftest import ENV
from tests.lineage.questions import small

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands") / "project"
    small.build(folder)
    shutil.copytree(ROOT / "pipelines", folder / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def lineage(folder: Path, *args: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    env = {**ENV, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-m", "lineage", *args], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    return done


def test_who_saw_prints_every_revision(project: Path) -> None:
    said = lineage(project / "data", "who-saw", "http://a.test/1.png").stdout
    now, _, before = said.partition("data set dddd")
    assert "the working tree" in now
    assert "1 opted_out, 1 seen_before" in now
    assert "no model was trained on it" in now
    assert "clip-0: trained on it 11 times, 1 pair (52.381% of its training)" in before
    assert "scorer: trained on it 4 times" in before


def test_who_saw_as_json_of_one_revision(project: Path) -> None:
    told = json.loads(lineage(project, "who-saw", "a.test", "--rev", "HEAD~1", "--json").stdout)
    assert told["subject"]["kind"] == "domain"
    (answer,) = told["answers"]
    assert (answer["rows"], [seen["times"] for seen in answer["models"]]) == (3, [11, 7])
    assert told["not_checkable_here"] == {}


def test_a_domain_is_counted_first(project: Path) -> None:
    said = lineage(project, "who-saw", "test", "--kind", "domain").stdout
    assert said.startswith("test and below: 4 in s1, 3 in s2\n")
    assert lineage(project, "who-saw", "no.test").stdout.startswith("no.test and below: no rows\n")


def test_why_prints_the_trail(project: Path) -> None:
    said = lineage(project, "why", "http://a.test/2.png").stdout
    assert "too_small: the shorter side is below the bound" in said
    assert "dropped by it side: 16.0  (min_px 32)" in said
    told = json.loads(lineage(project, "why", "http://a.test/2.png", "--json").stdout)
    assert told["trails"][0]["reason"] == "too_small"
    said = lineage(project, "why", "http://no.test/x").stdout
    assert "in no list" in said
    assert "try the domain: no.test" in said
    assert json.loads(lineage(project, "why", "http://no.test/", "--json").stdout)["trails"] == []


def test_impact_reads_files_and_values(project: Path, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("# please\nhttp://img.b.test/3.png\n\nc.test\n")
    told = json.loads(lineage(project, "impact", str(letter), "--json").stdout)
    assert (told["opt_outs"], told["pairs"], told["kept"]) == (2, 3, 2)
    assert "clip-0 saw 1 pair, 20 times" in lineage(project, "impact", "http://img.b.test/3.png").stdout
    assert "no such file" in lineage(project, "impact", "nothing", status=1).stderr
    assert json.loads(lineage(project, "impact", "B.test", "--json").stdout)["pairs"] == 2


def test_diff_prints_and_writes_every_change(project: Path, tmp_path: Path) -> None:
    said = lineage(project, "diff", "HEAD~1", "--out", str(tmp_path / "changes.parquet")).stdout
    assert "out: 1 opted_out" in said
    assert "emoji.top_1.value" in said
    assert records.read_table(tmp_path / "changes.parquet").num_rows == 2
    told = json.loads(lineage(project, "diff", "HEAD~1", "HEAD", "--json").stdout)
    assert told["changes"] == {"out": 1, "bytes": 1}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["who-saw", "http://a.test/", "--rev", "nowhere"], "nowhere: unknown revision"),
        (["who-saw", "http://a.test/", "--kind", "face"], "--kind 'face': not one of"),
        (["why", "http://a.test/1.png", "--snapshot", "s9"], "--snapshot 's9': the working tree has s1, s2"),
        (["impact", "http://a.test/", "--apply", "--rev", "HEAD"], "leave --rev out"),
        (["diff", "nowhere"], "nowhere: unknown revision"),
        (["trace", "nowhere"], "nowhere: no stage makes it"),
    ],
)
def test_a_users_mistake_is_one_line(project: Path, args: list[str], message: str) -> None:
    said = lineage(project, *args, status=1).stderr
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert message in said


def test_a_terminal_of_few_letters_gets_the_whole_answer(project: Path) -> None:
    env = {**ENV, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "lineage", "who-saw", "http://a.test/1.png", "--rev", "HEAD~1"]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"clip-0 11" in done.stdout


@pytest.mark.parametrize("words", [("impact", "no-letter.txt"), ("who-saw", "nosuch.png"), ("why", "nosuch.PNG")])
def test_a_file_that_is_not_there_is_no_domain(project: Path, words: tuple[str, str]) -> None:
    (line,) = lineage(project, *words, status=1).stderr.splitlines()
    assert line.startswith(f"error: {words[1]}: no such file")


def test_impact_that_is_applied_takes_down_what_it_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        table = records.read_table(Path(command[-1]), records.OPTOUTS)
        seen.append([*command[2:-1], *map(str, table.to_pylist())])
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr("lineage.commands.impact.subprocess.run", run)
    entries = [("host_sha256", "ab"), ("sha256", "cd")]
    assert impact._take_down(project, entries, "letter 17") == 7
    rows = [str({"kind": kind, "value": value}) for kind, value in entries]
    assert seen == [["flows", "takedown", "--reference", "letter 17", "--", *rows]]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_full_disk_is_one_line(project: Path, form: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    env = {**ENV, "PYTHONPATH": str(ROOT)}
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "lineage", "who-saw", "http://a.test/1.png", "--rev", "HEAD", *form]
        done = subprocess.run(
            command, cwd=project, env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "error: output: No space left on device\n")


def test_outside_of_a_project_there_is_nothing_to_ask(tmp_path: Path) -> None:
    assert "no dvc.yaml here or above" in lineage(tmp_path, "who-saw", "http://a.test/", status=1).stderr


def test_text_of_strangers_stays_text() -> None:
    assert shown.text("a\x1b[31m\u202eb\0\n[bold]<b>") == "a\\x1b[31m\\u202eb\\x00\\n[bold]<b>"
    assert shown.text("é漢" * 400) == "é漢" * 150 + "… (800 characters)"
    assert shown.text("\ud800") == "\\ud800"
