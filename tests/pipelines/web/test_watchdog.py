import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.web import watchdog
from tests.pipelines.processes import ended

CHILD = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(str(worker.pid))
time.sleep(float(sys.argv[2]))
"""


def started(seconds: float, status: int = 0) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds}); raise SystemExit({status})"])


@pytest.mark.parametrize("status", [0, 3])
def test_the_exit_status_comes_back(status: int) -> None:
    with started(0.0, status) as process:
        assert watchdog.wait(process, moved=lambda: None, stall_s=60.0) == status


def test_a_process_is_waited_for_while_something_moves() -> None:
    counter = itertools.count()
    with started(1.5) as process:
        assert watchdog.wait(process, moved=lambda: next(counter), stall_s=0.5) == 0


def test_a_stall_ends_the_wait_but_not_the_process() -> None:
    begun = time.monotonic()
    with started(600.0) as process:
        with pytest.raises(watchdog.StalledError, match=r"nothing moved for 0\.5 s"):
            watchdog.wait(process, moved=lambda: "same", stall_s=0.5)
        assert 0.5 <= time.monotonic() - begun < 5.0
        assert process.poll() is None
        process.kill()


def test_what_the_look_raises_ends_the_wait() -> None:
    def broken() -> None:
        raise ValueError("the store is damaged")

    with started(600.0) as process:
        with pytest.raises(ValueError, match="the store is damaged"):
            watchdog.wait(process, moved=broken, stall_s=60.0)
        process.kill()


@pytest.mark.parametrize("seconds", ["0", "600"])
def test_workers_die_with_the_command(seconds: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with (tmp_path / "log").open("wb") as log:
        with watchdog.own_group([sys.executable, "-c", CHILD, str(pid), seconds], log, os.environ) as process:
            if seconds == "0":
                assert process.wait() == 0
            while not (pid.exists() and pid.read_text()):
                time.sleep(0.01)
    assert process.returncode == (0 if seconds == "0" else -9)
    assert ended(int(pid.read_text()))


def test_the_group_ends_without_its_reaper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def noted(*words: object, **options: object) -> subprocess.Popen[bytes]:
        begun.append(real(*words, **options))  # type: ignore[call-overload]
        return begun[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    pid = tmp_path / "pid"
    with (tmp_path / "log").open("wb") as log:
        with watchdog.own_group([sys.executable, "-c", CHILD, str(pid), "600"], log, os.environ):
            while not (pid.exists() and pid.read_text()):
                time.sleep(0.01)
            begun[1].send_signal(signal.SIGKILL)
            begun[1].wait()
    assert ended(int(pid.read_text()))
