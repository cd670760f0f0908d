"""A stage whose data lie in a bucket, killed, cut off from its server, or with objects too large for one PUT."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineage import remote
from tests.buckets import RAW, ROOT, emptied, head, held, objects, push, put, served_bucket

pytestmark = pytest.mark.slow

REPO = Path(__file__).parents[2]
CONTENT = {"ledger": b"rows", "train/0": b"first" * 1000, "train/1": b""}


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, str]]:
    with served_bucket() as environment:
        yield environment


@pytest.fixture(autouse=True)
def bucket(served: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty bucket, the current folder a new one."""
    monkeypatch.chdir(tmp_path)
    return emptied(served, monkeypatch)


def test_a_large_object_goes_in_parts_and_comes_back(bucket: Any) -> None:
    content = os.urandom(1 << 20) * 101  # bytes: from 100 MiB on s3fs uploads in parts
    push({"0.tar": content})
    assert "-" in head(bucket, "0.tar")["ETag"]
    remote.fetch(RAW)
    assert (RAW / "0.tar").read_bytes() == content


WORK = """
import sys, time
from pathlib import Path
from lineage import remote, stage

def main(dep: Path, out: Path) -> None:
    with stage.run("audit", "all", params={}, deps=[dep], outs=[out], provenance=Path("provenance/audit.json")) as this:
        receipts, made = this.scratch / "receipts", this.scratch / "out"
        for folder in (receipts, made):
            folder.mkdir(exist_ok=True)
        for file in sorted(dep.iterdir()):
            if not (receipts / file.name).exists():
                (made / file.name).write_bytes(file.read_bytes() * 2)
                (receipts / file.name).touch()
        this.account(rows_in=1, kept=1)
        this.publish(made, out)

def stopping(act, after):
    def stop(*args, **kwargs):
        nonlocal after
        if not after:
            print("here", flush=True)
            time.sleep(600)
        after -= 1
        return act(*args, **kwargs)
    return stop

remote._NUM_TRANSFERS = 1
module, _, name = sys.argv.pop().rpartition(".")
after = int(sys.argv.pop())
place = {"remote": remote, "files": remote.files, "digests": remote.digests}[module]
setattr(place, name, stopping(getattr(place, name), after))
stage.command(main)
"""


def start(after: int, call: str) -> subprocess.Popen[str]:
    """Returns a stage that reads and writes in the bucket and halts where it has made a call so many times."""
    environment = {**os.environ, "PYTHONPATH": str(REPO), "PYTHONWARNINGS": "ignore"}
    paths = [f"{ROOT}/./data/raw/in", f"{ROOT}/./data/raw/s1"]
    command = [sys.executable, "-c", WORK, *paths, str(after), call]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_killed_at_any_moment_it_goes_on_where_it_was(bucket: Any, served: dict[str, str]) -> None:
    content = {str(number): os.urandom(100) for number in range(5)}
    wanted = {name: twice * 2 for name, twice in content.items()}
    push(content, RAW.parent / "in")
    made: dict[Path, int] = {}
    for after, call, num_sent, committed in (
        (2, "remote._get", 0, False),
        (1, "remote._put", 1, False),
        (4, "remote._put", 4, False),
        (3, "files.write_json", 5, False),  # pointers, half of them staged
        (0, "digests.described", 5, True),  # between the pointers and the provenance
    ):
        with start(after, call) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n", (after, call)
            process.kill()
        assert len(objects(served, "a/b/data/raw/s1/")) == num_sent
        assert Path("data/raw/s1").exists() == committed
        now = {path: path.stat().st_mtime_ns for path in Path(".work").glob("audit-*/out/*")}
        assert made.items() <= now.items() or committed
        made = made or now
        if num_sent == 1:
            put(bucket, "0", wanted["0"], md5=head(bucket, "0")["Metadata"]["md5"])
    with start(-1, "remote._put") as process:
        assert process.wait() == 0
    assert objects(served, "a/b/data/raw/s1/") == wanted
    assert head(bucket, "0")["Metadata"]["by"] == "hand"
    shutil.rmtree(".mirror")
    remote.fetch(RAW)
    assert held() == wanted


def test_a_server_that_is_down_is_one_line_and_the_command_brings_what_is_asked() -> None:
    push(CONTENT)
    command = [sys.executable, "-m", "lineage.remote", f"{ROOT}/./data/raw/s1"]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "AWS_MAX_ATTEMPTS": "1"}
    down = {**environment, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = subprocess.run(command, env=down, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(
        rf"error: {ROOT}/data/raw/s1/\S+: EndpointConnectionError: Could not connect .*; check AWS_ENDPOINT_URL, .*\n",
        done.stderr,
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == RAW
    assert held() == CONTENT
    done = subprocess.run([*command[:3], "data/raw/s1"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: data/raw/s1: not in a bucket; write s3://BUCKET/PREFIX/./data/raw/s1\n"
