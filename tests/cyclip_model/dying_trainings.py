"""Trains every objective once undisturbed and once killed three times, each run a fork: importing torch takes longer.

python -m tests.cyclip_model.dying_trainings SEED    # in a folder with params.yaml and data/
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from cyclip_model import losses, train
from cyclip_model.trainer import loop
from lineage import stage

NUM_KILLS = 3
ROOT = Path("data/root.json")


def start(model: Path) -> int:
    """Starts stage train in a fork and returns its pid."""
    pid = os.fork()
    if pid == 0:
        stage._PARENT = os.getppid()
        loop._SAVE_EVERY_S = 0  # after every step, so that runs go on within an epoch too
        status = 1
        try:
            train.main(
                Path("data/root.json"), Path("data/shards"), model, Path("provenance/train") / f"{model.name}.json"
            )
            status = 0
        finally:
            os._exit(status)
    return pid


def finish(pid: int) -> int:
    """Returns the status a child ends with."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(seed: int) -> None:
    """Prints what each objective's runs came to, as JSON."""
    import open_clip  # noqa: F401  # once, for all forks
    import webdataset  # noqa: F401

    chance, told = random.Random(seed), {}
    for name in losses.OBJECTIVES:
        whole, killed = Path("whole") / f"{name}-0", Path("killed") / f"{name}-0"
        begun = time.monotonic()
        assert finish(start(whole)) == 0, name
        seconds, ends = time.monotonic() - begun, []
        for _ in range(NUM_KILLS):
            pid = start(killed)
            time.sleep(chance.uniform(0.3, 0.8) * seconds)
            os.kill(pid, signal.SIGKILL)
            ends.append(finish(pid))
        scratch = [path.name for path in Path(".work").glob(f"train-{name}-0-*/checkpoint.pt")]
        assert finish(start(killed)) == 0, name
        same = {path.name: path.read_bytes() == (killed / path.name).read_bytes() for path in whole.iterdir()}
        told[name] = {"ends": ends, "checkpoints": len(scratch), "same": same}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]))
