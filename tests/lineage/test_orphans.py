"""A process dies with what it works for, with and without a shell between them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lineage.conftest import ENV

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal and pidfd are Linux's")

CHILD = """
import os, time
from lineage import orphans
orphans.{how}(os.getppid())
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys, time
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline().strip(), child.pid, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()  # dead, and not yet collected by init
    except (FileNotFoundError, ProcessLookupError):  # gone, or gone between the two steps
        return False


def outlives(command: list[str]) -> tuple[bool, bool]:
    """Kills the process that started a command; returns whether the child lives on, and whether a shell was between."""
    env = {**ENV, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *command], env=env, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        child, started = map(int, parent.stdout.readline().split())
        os.kill(child, 0)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive(child), child != started


@pytest.mark.parametrize("how", ["die_with_parent", "die_with_caller"])
def test_a_child_dies_with_its_parent(how: str) -> None:
    assert outlives([sys.executable, "-c", CHILD.format(how=how)]) == (False, False)


@pytest.mark.parametrize("words", [["dash", "-c"], ["bash", "--noprofile", "--norc", "-c"]])
def test_a_stage_dies_with_who_started_its_shell(words: list[str], tmp_path: Path) -> None:
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]} here")
    script = tmp_path / "child.py"
    script.write_text(CHILD.format(how="die_with_caller"))
    for then in ("", "; true"):  # a second command keeps every shell in its place
        is_outliving, is_shell_between = outlives([*words, f"{sys.executable} {script}{then}"])
        assert not is_outliving
    assert is_shell_between
