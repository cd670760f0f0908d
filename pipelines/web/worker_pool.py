"""img2dataset's download with a pool of processes that tells when one of them dies.

The multiprocessing Pool that img2dataset brings replaces a killed worker, but never learns that its shard is lost: it
waits for ever. This one ends with the exit status WORKER_DIED. Its workers, and img2dataset's logger, are forked, once:
img2dataset starts them from nothing, workers anew every five shards, and each takes seconds and hundreds of MB to
import what this process has imported already.

    python -m pipelines.web.worker_pool '{"url_list": …}'     # the arguments of img2dataset.download, as JSON
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from typing import Any

from lineage import orphans

WORKER_DIED = 75
"""Exit status: EX_TEMPFAIL of sysexits.h, for another try may well succeed."""

Shard = tuple[int, str]


def distribute(
    processes_count: int, downloader: Callable[[Shard], Any], shards: Iterable[Shard], *_: Any, **__: Any
) -> None:
    """Downloads every shard; the signature is that of img2dataset's own distributors.

    A shard that fails is not tried again here: whoever started us sees what is missing.
    """
    with futures.ProcessPoolExecutor(
        processes_count,
        mp_context=get_context("fork"),
        initializer=orphans.die_with_parent,
        initargs=(os.getpid(),),
    ) as pool:
        try:
            pool.submit(os.getpid).result()  # forks all of them, before the reader of `shards` starts threads
            for future in futures.as_completed([pool.submit(downloader, shard) for shard in shards]):
                future.result()
        except BrokenProcessPool:
            sys.stderr.write("a worker process died\n")
            sys.stderr.flush()
            os._exit(WORKER_DIED)  # what else runs in this group is ended by its owner


def main(arguments: dict[str, Any]) -> None:
    """Runs img2dataset with this pool in the place of its own, and its logger forked."""
    img2dataset: Any = importlib.import_module("img2dataset.main")  # the package has a function of that name
    img2dataset.multiprocessing_distributor = distribute
    img2dataset.LoggerProcess._Popen = staticmethod(ForkProcess._Popen)  # type: ignore[attr-defined]
    img2dataset.download(**arguments)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
