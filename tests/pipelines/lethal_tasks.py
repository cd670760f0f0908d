"""Tasks for the embedded runner's worker processes: importable, for workers start from nothing."""

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from pipelines import engine
from tests.builders import TWO_WORKERS


@dataclasses.dataclass(frozen=True)
class Task:
    """A task that says what its worker is to do."""

    name: str
    deed: str
    folder: Path


def work(task: Task) -> dict[str, Any]:
    """Leaves the worker's pid, and ends as told: well, never, or by being killed."""
    (task.folder / f"{task.name}.pid").write_text(str(os.getpid()))
    if task.deed == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task.deed == "linger":
        time.sleep(600)
    return {"pid": os.getpid()}


def main(folder: Path, deeds: list[str]) -> None:
    """Runs a task for each deed."""
    from tests.pipelines import lethal_tasks  # a name that workers can import, not __main__'s

    tasks = [lethal_tasks.Task(name=f"t{number}", deed=deed, folder=folder) for number, deed in enumerate(deeds)]
    engine.run_tasks("deeds", tasks, lethal_tasks.work, folder / "receipts", TWO_WORKERS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
