"""img2dataset as a subprocess behind the gateway, and its shards read as what they are: untrusted and unordered."""

import functools
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from lineage import digests, files, stage
from pipelines.gateway import HOST

_KEY_DIGITS = 5
_REAPER = "import os, signal, sys; sys.stdin.read(); os.killpg(int(sys.argv[1]), signal.SIGKILL)"
"""Kills a process group when its standard input ends: when we close it, or die."""


def write_url_list(uids: list[str], path: Path) -> None:
    """Writes img2dataset's input: gateway URLs in order of uid, so that its shards are ranges of uids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    urls = [f"http://{HOST}/{uid}" for uid in uids]
    pq.write_table(pa.table({"url": urls, "uid": uids}), path)


def run_img2dataset(
    url_list: Path,
    out: Path,
    *,
    proxy: str,
    rows_per_shard: int,
    timeout_s: float,
    num_processes: int,
    num_threads: int,
) -> None:
    """Downloads a list through the proxy into img2dataset's WebDataset shards, bytes as fetched.

    Shards that an earlier, killed run finished are kept (its `incremental` mode). It and its workers die with us.

    Raises:
        ValueError: if img2dataset exits with an error, with the end of its output.
    """
    out.mkdir(parents=True, exist_ok=True)
    arguments = {
        "url_list": url_list,
        "input_format": "parquet",
        "url_col": "url",
        "save_additional_columns": '["uid"]',
        "output_folder": out,
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
        "incremental_mode": "incremental",
    }
    command = [sys.executable, "-m", "img2dataset.main", *(f"--{name}={value}" for name, value in arguments.items())]
    log = out.with_suffix(".log")
    with log.open("wb") as output:
        with _own_group(command, output, _environment(proxy)) as process:
            status = process.wait()
    if status != 0:
        tail = log.read_text(errors="replace").strip().splitlines()[-5:]
        raise ValueError(f"img2dataset ended with status {status}: {' | '.join(tail)}")


def finished_shards(out: Path) -> list[int]:
    """Returns the shards img2dataset finished: those with its statistics file, its commit marker."""
    return sorted(int(path.name.split("_")[0]) for path in out.glob("*_stats.json"))


def discard(out: Path, shard: int) -> None:
    """Removes one shard, so that img2dataset makes it anew."""
    for path in out.glob(f"{shard:05d}[._]*"):
        files.remove(path)


def agrees(out: Path, shard: int, expected: Mapping[str, str | None]) -> bool:
    """Returns whether a finished shard holds what is expected, its pictures' bytes included.

    Args:
        expected: {uid: sha256, None where there is to be no picture}.
    """
    try:
        found = outcomes(out, shard)
        held = {uid: digests.sha256_bytes(content) for uid, content in pictures(out, shard).items()}
    except (OSError, KeyError, ValueError, tarfile.TarError, pa.ArrowException):  # missing or damaged
        return False
    return found == expected and held == {uid: sha256 for uid, sha256 in expected.items() if sha256 is not None}


def outcomes(out: Path, shard: int) -> dict[str, str | None]:
    """Returns {uid: sha256 of its bytes, None where img2dataset has none} of one finished shard."""
    table = pq.read_table(out / f"{shard:05d}.parquet", columns=["uid", "status", "sha256"])
    rows = table.to_pylist()
    return {row["uid"]: row["sha256"] if row["status"] == "success" else None for row in rows}


def pictures(out: Path, shard: int) -> dict[str, bytes]:
    """Returns {uid: bytes} of one finished shard."""
    keys: Mapping[str, str] = dict(
        zip(
            *(column.to_pylist() for column in pq.read_table(out / f"{shard:05d}.parquet", columns=["key", "uid"])),
            strict=True,
        )
    )
    found: dict[str, bytes] = {}
    with tarfile.open(out / f"{shard:05d}.tar") as archive:
        for member in archive:
            key, _, extension = member.name.partition(".")
            content = archive.extractfile(member)
            if content is not None and extension not in ("json", "txt"):
                found[keys[key]] = content.read()
    return found


@contextmanager
def _own_group(command: list[str], output: BinaryIO, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Yields a running command whose whole process group is killed at the end of the context, or of this process.

    The kernel's parent-death signal reaches the command alone: its workers would outlive it and go on writing.
    """
    process = subprocess.Popen(
        command,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
        preexec_fn=functools.partial(stage.die_with_parent, os.getpid()),
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
        reaper.communicate()
        process.wait()


def _environment(proxy: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    # albumentations, which img2dataset imports, asks the network for its newest version otherwise
    quiet = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    return {**inherited, **quiet, "http_proxy": proxy}
