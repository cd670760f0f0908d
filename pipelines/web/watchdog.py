"""A process that is waited for only while something moves, in a process group that dies with its owner."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from lineage import orphans

_POLL_S = 0.2
_REAPER = "import os, signal, sys; sys.stdin.read(); os.killpg(int(sys.argv[1]), signal.SIGKILL)"
"""Kills a process group when its standard input ends: when we close it, or die."""


class StalledError(Exception):
    """Nothing moved for too long."""


def wait(process: subprocess.Popen[bytes], *, moved: Callable[[], object], stall_s: float) -> int:
    """Returns the exit status of a process.

    Args:
        moved: returns another value whenever something moved; asked some times a second. What it raises ends the wait.
        stall_s: how long nothing may move, s.

    Raises:
        StalledError: if nothing moved for so long; the process still runs.
    """
    seen, since = moved(), time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_S)
        now = moved()
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > stall_s:
            raise StalledError(f"nothing moved for {stall_s:g} s")


@contextlib.contextmanager
def own_group(
    command: list[str], output: BinaryIO, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Yields a running command whose whole process group is killed at the end of the context, or of this process.

    The kernel's parent-death signal reaches the command alone: its workers would outlive it and go on writing.
    """
    process = subprocess.Popen(
        command,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        preexec_fn=functools.partial(orphans.die_with_parent, os.getpid()),
    )
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _REAPER, str(process.pid)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:  # not left to the reaper alone, which may have been killed itself
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        reaper.communicate()
        process.wait()
