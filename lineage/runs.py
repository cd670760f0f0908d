"""Run records: when, with which code and on what a stage ran. No out and no dep of the DAG; committed with dvc.lock.

`runs/STAGE.jsonl` holds one record a line, appended under a lock. The records of one stage instance form a hash
chain: each carries the sha256 of the line before it, so that a changed or removed record is found.
"""

import fcntl
import importlib.metadata
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lineage import digests

RUNS = Path("runs")
LOCK_FILE = Path("requirements.lock")
_UNTIMED = ("runs", "dvc.lock")


def append(stage: str, record: dict[str, Any], runs: Path = RUNS) -> None:
    """Appends one record of a stage instance, chained to that instance's last one."""
    runs.mkdir(exist_ok=True)
    with (runs / f"{stage}.jsonl").open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        lines = [line for line in file.read().splitlines() if _instance(line) == record["instance"]]
        chained = {**record, "previous": digests.sha256_bytes(lines[-1].encode()) if lines else None}
        file.write(json.dumps(chained, sort_keys=True, ensure_ascii=False) + "\n")


def read(stage: str, runs: Path = RUNS) -> Iterator[dict[str, Any]]:
    """Yields the records of a stage, oldest first.

    Raises:
        ValueError: if a line is not JSON or breaks its instance's chain, naming file and line.
    """
    path = runs / f"{stage}.jsonl"
    previous: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else [], 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            raise ValueError(f"{path}:{number}: not a run record") from None
        if record["previous"] != previous.get(record["instance"]):
            raise ValueError(f"{path}:{number}: the chain of {stage}@{record['instance']} is broken here")
        previous[record["instance"]] = digests.sha256_bytes(line.encode())
        yield record


def environment() -> dict[str, Any]:
    """Returns commit, dirty flag, lock-file digest, Python and package versions, and device; no host name."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in _UNTIMED))),
        "requirements": digests.sha256_file(LOCK_FILE) if LOCK_FILE.exists() else None,
        "python": sys.version.split()[0],
        "versions": _loaded_versions(),
        "device": _device(),
    }


def peak_memory_bytes() -> int:
    """Returns the peak resident memory of this process and its ended children, in bytes."""
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def cpu_seconds() -> float:
    """Returns CPU time of this process and its ended children, in seconds."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _instance(line: str) -> str | None:
    try:
        return str(json.loads(line)["instance"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return None


def _git(*args: str) -> str | None:
    try:
        done = subprocess.run(["git", *args], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _loaded_versions() -> dict[str, str]:
    """Returns the versions of the main packages this process has imported."""
    packages = {
        "apache-beam": "apache_beam",
        "numpy": "numpy",
        "open-clip-torch": "open_clip",
        "opencv-python-headless": "cv2",
        "pillow": "PIL",
        "pyarrow": "pyarrow",
        "torch": "torch",
        "torchvision": "torchvision",
        "webdataset": "webdataset",
    }
    return {name: importlib.metadata.version(name) for name, module in packages.items() if module in sys.modules}


def _device() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return "cpu"
