"""No process outlives what it works for: a killed `dvc repro` or flow must leave nothing that writes on."""

import contextlib
import ctypes
import os
import re
import select
import signal
import sys
import threading
from pathlib import Path

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
_SHELL = re.compile(rb"(\S*/)?-?\w*sh\0(-\S+\0)*-\w*c\0")
"""How a shell's words begin that was started for one command."""


def die_with_parent(parent: int) -> None:
    """Asks the kernel to kill this process when `parent` dies."""
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask
        raise SystemExit("the parent process has ended")


def die_with_caller(parent: int) -> None:
    """As die_with_parent; where `parent` is a shell started for this one command, this process dies with the shell's
    parent, too: bash makes way for its command, dash stays between, and outlives a killed DVC.
    """
    die_with_parent(parent)
    with contextlib.suppress(OSError, AttributeError):  # no /proc, or no pidfd
        if _SHELL.match(Path(f"/proc/{parent}/cmdline").read_bytes()):
            caller = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1])
            watched = os.pidfd_open(caller)
            threading.Thread(target=_die_with, args=(watched,), name="die-with-caller", daemon=True).start()


def _die_with(pidfd: int) -> None:
    """Kills this process when the one behind a pidfd has ended."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    os.kill(os.getpid(), signal.SIGKILL)
