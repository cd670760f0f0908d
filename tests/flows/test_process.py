import os
import sys
import time
from pathlib import Path

import pytest

from flows import process
from flows.process import CommandFailedError


def shell(text: str) -> list[str]:
    return ["sh", "-c", text]


def test_lines_come_as_they_are_said_and_in_order(tmp_path: Path) -> None:
    heard: list[tuple[str, float]] = []
    said = process.run(
        shell("echo one; sleep 0.5; echo two >&2; echo"), tmp_path, lambda line: heard.append((line, time.monotonic()))
    )
    assert said == "one\ntwo\n"
    assert [line for line, _ in heard] == ["one", "two"]
    assert heard[1][1] - heard[0][1] > 0.3, "the first line was heard before the command ended"


def test_a_failure_says_what_the_command_said(tmp_path: Path) -> None:
    text = "echo start; echo 'error: params.yaml: pack.colour is not known'; echo 'ERROR: failed to reproduce'; exit 1"
    with pytest.raises(CommandFailedError, match=r"params.yaml: pack.colour is not known$"):
        process.run(shell(text), tmp_path, print)
    with pytest.raises(CommandFailedError, match=r"last words$"):
        process.run(shell("echo first; echo last words; exit 3"), tmp_path, print)
    with pytest.raises(CommandFailedError, match=r"it said nothing$"):
        process.run(shell("exit 3"), tmp_path, print)


def test_a_command_out_of_time_is_ended_with_all_it_started(tmp_path: Path) -> None:
    text = f"sleep 60 & echo $! > {tmp_path}/child; wait"
    with pytest.raises(CommandFailedError, match=r"ended after 0\.5 s"):
        process.run(shell(text), tmp_path, print, timeout_s=0.5)
    child = Path("/proc") / (tmp_path / "child").read_text().strip()
    deadline = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def is_alive(entry: Path) -> bool:
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_command_that_ends_in_time_leaves_no_timer(tmp_path: Path) -> None:
    assert process.run(shell("echo done"), tmp_path, print, timeout_s=0.5) == "done"
    time.sleep(0.6)


def test_stages_find_this_python_first() -> None:
    assert process.environment({"X": "1"})["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert process.environment({"X": "1"})["X"] == "1"
    assert process.python("dvc", "status") == [sys.executable, "-m", "dvc", "status"]


def test_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    assert process.run(shell(r"printf 'a\377b\n'"), tmp_path, print) == "a�b"
