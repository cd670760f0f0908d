"""One command in a process of its own: its lines go to the log as they come, it dies with us, it has its time."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lineage import orphans

_NUM_LAST_LINES = 30
_GRACE_S = 10.0
_ERROR = ("error: ", "ERROR: ")
"""How our stages, and DVC, begin the line that says what is wrong."""


class CommandFailedError(Exception):
    """A command ended badly; `said` is the line in which it says why."""

    def __init__(self, command: Sequence[str], said: str) -> None:
        words = ["python", *command[1:]] if command[0] == sys.executable else command
        super().__init__(f"{' '.join(words)}: {said}")
        self.said = said


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns our environment with this Python's programs first in PATH, as stages are started by name."""
    programs = str(Path(sys.executable).parent)
    own = {"PATH": os.pathsep.join([programs, os.environ.get("PATH", "")]), "DVC_NO_ANALYTICS": "1"}
    return {**os.environ, **own, **(extra or {})}


def run(command: Sequence[str], folder: Path, say: Callable[[str], None], *, timeout_s: float | None = None) -> str:
    """Runs a command in a folder and returns what it said, stdout and stderr in one; `say` gets each line at once.

    Raises:
        CommandFailedError: if it ended with another status than 0 or took longer than `timeout_s` seconds.
    """
    lines: list[str] = []
    with subprocess.Popen(
        list(command),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=functools.partial(orphans.die_with_parent, os.getpid()),
    ) as started:
        late = threading.Event()
        timer = threading.Timer(timeout_s or 0, _end, (started.pid, late))
        if timeout_s:
            timer.start()
        try:
            assert started.stdout is not None
            for line in started.stdout:
                lines.append(line.rstrip())
                if lines[-1]:
                    say(lines[-1])
            status = started.wait()
        except BaseException:  # a cancelled run must not leave its stage at work
            _end(started.pid, late)
            raise
        finally:
            timer.cancel()
    if timeout_s and late.is_set():
        raise CommandFailedError(command, f"ended after {timeout_s:g} s; the next run goes on from there")
    if status != 0:
        raise CommandFailedError(command, said(lines))
    return "\n".join(lines)


def python(*words: str) -> list[str]:
    """Returns the command that runs a module with this Python: `python("dvc", "repro")`."""
    return [sys.executable, "-m", *words]


def said(lines: Sequence[str]) -> str:
    """Returns the line in which a command says what is wrong: its first error, else its last line."""
    errors = [line for line in lines if line.startswith(_ERROR)]
    last = deque((line for line in lines if line.strip()), maxlen=_NUM_LAST_LINES)
    return errors[0].partition(" ")[2] if errors else (last[-1] if last else "it said nothing")


def _end(pid: int, late: threading.Event) -> None:
    """Ends a command and all it started: asked first, so that DVC is not cut off while it writes dvc.lock."""
    late.set()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGINT)
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline:
            os.killpg(pid, 0)
            time.sleep(0.05)
        os.killpg(pid, signal.SIGKILL)
