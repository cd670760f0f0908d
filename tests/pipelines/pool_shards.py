"""What a worker of the pool is given to do in tests: importable, for workers start from nothing."""

import os
import signal
import time
from pathlib import Path


def finish(shard: tuple[int, str]) -> tuple[bool, tuple[int, str]]:
    """Leaves a file named after the shard, with the worker's pid."""
    number, folder = shard
    (Path(folder) / str(number)).write_text(str(os.getpid()))
    return True, shard


def die_at_two(shard: tuple[int, str]) -> tuple[bool, tuple[int, str]]:
    """Is killed at shard 2, as by the kernel when memory is short."""
    if shard[0] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return finish(shard)


def linger(shard: tuple[int, str]) -> tuple[bool, tuple[int, str]]:
    """Never ends."""
    finish(shard)
    time.sleep(600)
    return True, shard
