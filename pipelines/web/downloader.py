"""img2dataset as a subprocess behind the gateway, and its shards read as what they are: untrusted and unordered."""

import json
import os
import re
import sys
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from lineage import digests, files
from pipelines.web import watchdog, worker_pool
from pipelines.web.gateway import HOST

_KEY_DIGITS = 5
_SHARDS_PER_LIST = 100
_NUM_LAST_LINES = 5
_ERROR = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b")
"""The last line of a traceback. Several processes write to one log, so that its own last line may say little."""


def write_url_lists(shards: Iterable[list[str]], folder: Path, rows_per_shard: int) -> None:
    """Writes img2dataset's input as lists of gateway URLs, so that its n-th shard holds the uids of the n-th given.

    It cuts each list into shards for itself: one with fewer rows, because some were taken down, ends its list.

    Args:
        shards: the uids of each, at least one, at most `rows_per_shard`.
    """
    folder.mkdir(parents=True)
    held: list[list[str]] = []
    number = 0
    for shard in shards:
        held.append(shard)
        if len(held) == _SHARDS_PER_LIST or len(shard) < rows_per_shard:
            _write_url_list(held, folder / f"{number:06d}.parquet")
            held, number = [], number + 1
    if held:
        _write_url_list(held, folder / f"{number:06d}.parquet")


def run_img2dataset(
    url_lists: Path,
    out: Path,
    *,
    proxy: str,
    rows_per_shard: int,
    timeout_s: float,
    num_processes: int,
    num_threads: int,
    moved: Callable[[], object],
    stall_s: float,
) -> str | None:
    """Has img2dataset fetch lists through the proxy into WebDataset shards, bytes as fetched, under a watchdog.

    It and its workers die with us, when one of them dies, and when nothing moves.

    Args:
        timeout_s: how long img2dataset waits for a byte of the proxy, s.
        moved: returns another value whenever something moved beside the files of `out`.
        stall_s: how long nothing may move, s.

    Returns:
        How it ended too early, in words; None where it ended well. What it left undone it does not tell.
    """
    out.mkdir(parents=True)
    arguments = {
        "url_list": str(url_lists),
        "input_format": "parquet",
        "url_col": "url",
        "save_additional_columns": ["uid"],
        "output_folder": str(out),
        "output_format": "webdataset",
        "disable_all_reencoding": True,
        "extract_exif": False,
        "compute_hash": "sha256",
        "number_sample_per_shard": rows_per_shard,
        "oom_shard_count": _KEY_DIGITS,
        "processes_count": num_processes,
        "thread_count": num_threads,
        "timeout": int(timeout_s) + 1,
        "retries": 0,
    }
    command = [sys.executable, "-m", worker_pool.__name__, json.dumps(arguments)]
    log = out.with_suffix(".log")
    with log.open("wb") as output, watchdog.own_group(command, output, _environment(proxy)) as process:
        try:
            status = watchdog.wait(process, moved=lambda: (moved(), _num_bytes(out)), stall_s=stall_s)
        except watchdog.StalledError as error:
            return str(error)
    if status == worker_pool.WORKER_DIED:
        return "one of its workers died"
    return None if status == 0 else f"it ended with status {status}: {last_words(log)}"


def last_words(log: Path) -> str:
    """Returns the errors that a log names, or else its end, in one line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return " | ".join((errors or lines)[-_NUM_LAST_LINES:])


class Place(NamedTuple):
    """Where img2dataset was to put a shard."""

    out: Path
    shard: int


def discard(place: Place) -> None:
    """Removes the files of a shard that is done with: the disk is to hold a snapshot twice, not three times."""
    for path in place.out.glob(f"{place.shard:05d}[._]*"):
        files.remove(path)


class MadeShard:
    """One shard that img2dataset made, as bytes by uid; nothing is to be had of a damaged one, or of none."""

    def __init__(self, place: Place | None) -> None:
        """Takes where it lies."""
        self._path = place.out / f"{place.shard:05d}.tar" if place else Path()
        self._places = _places(self._path) if place else {}

    def __enter__(self) -> Self:
        self._file = self._path.open("rb") if self._places else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, uid: str, sha256: str) -> bytes | None:
        """Returns the bytes of a uid, None where the shard has none with this sha256."""
        if self._file is None or uid not in self._places:
            return None
        offset, length = self._places[uid]
        self._file.seek(offset)
        content = self._file.read(length)
        return content if digests.sha256_bytes(content) == sha256 else None


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """Returns {uid: (offset, length) of its picture} of a shard; of a damaged or unfinished one, what can be read."""
    found: dict[str, tuple[int, int]] = {}
    try:
        table = pq.read_table(path.with_suffix(".parquet"), columns=["key", "uid"])
        uid_of = dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
        with tarfile.open(path) as archive:
            for member in archive:
                key, _, extension = member.name.partition(".")
                if extension != "json" and key in uid_of:
                    found[uid_of[key]] = (member.offset_data, member.size)
    except (OSError, KeyError, ValueError, tarfile.TarError, pa.ArrowException):
        return found
    return found


def _write_url_list(shards: list[list[str]], path: Path) -> None:
    uids = [uid for shard in shards for uid in shard]
    pq.write_table(pa.table({"url": [f"http://{HOST}/{uid}" for uid in uids], "uid": uids}), path)


def _num_bytes(out: Path) -> int:
    """Returns how much img2dataset has written."""
    return sum(entry.stat().st_size for entry in os.scandir(out) if entry.is_file())


def _environment(proxy: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    # albumentations, which img2dataset imports, asks the network for its newest version otherwise
    quiet = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    packages = [str(Path(__file__).parents[2]), *filter(None, [inherited.get("PYTHONPATH")])]
    found: dict[str, Any] = {**inherited, **quiet, "PYTHONPATH": os.pathsep.join(packages), "http_proxy": proxy}
    return found
