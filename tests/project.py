"""A whole small project in a folder of its own: the real dvc.yaml and code, few pictures, tiny towers, own server."""

import functools
import hashlib
import http.server
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


class Project:
    """A checkout with its own cache and store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv = str(Path(sys.executable).parent)
        self.env = {
            **os.environ,
            "PATH": f"{venv}{os.pathsep}{os.environ['PATH']}",
            "CLIPLINE_STORE": str(folder / "store"),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
        }
        for name in ("PYTHONPATH", "PYTHONWARNINGS"):
            self.env.pop(name, None)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command in the project; `python` is ours."""
        words = [sys.executable if word == "python" else word for word in command]
        done = subprocess.run(words, cwd=self.folder, env=self.env, capture_output=True, text=True)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def repro(self, *options: str) -> list[str]:
        """Runs `dvc repro` and returns the stages that ran, in order."""
        done = self.run("python", "-m", "dvc", "repro", *options)
        return re.findall(r"^Running stage '([^']+)'", done.stdout, re.M)

    def kill_during(self, scratch: str, after_s: float = 0.0) -> None:
        """Starts `dvc repro` and kills its whole process group once a stage's scratch folder is there."""
        started = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro"],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 240
        while not [path for path in (self.folder / ".work").glob(f"{scratch}-*") if path.is_dir()]:
            assert started.poll() is None, f"`dvc repro` ended before {scratch} began"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(after_s)
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()

    def orphans(self, within_s: float = 10.0) -> list[str]:
        """Returns the processes still at work in this folder after some time to end."""
        deadline = time.monotonic() + within_s
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def processes(self) -> list[str]:
        """Returns the command lines of processes that work in this folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if (entry / "cwd").readlink() == self.folder:
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
        return [line for line in found if line]

    def commit(self, message: str) -> None:
        """Commits everything that git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "--quiet", "-m", message)

    def params(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Changes params.yaml."""
        path = self.folder / "params.yaml"
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    def lock(self) -> bytes:
        """Returns dvc.lock."""
        return (self.folder / "dvc.lock").read_bytes()


def make_project(folder: Path) -> Project:
    """Returns a project without snapshots: the files git knows or would take, without their history."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if name.startswith(("data/", "runs/", "tests/")) or name == "dvc.lock" or not (ROOT / name).is_file():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    project = Project(folder)
    project.run("git", "init", "--quiet")
    project.run("git", "config", "user.name", "test")
    project.run("git", "config", "user.email", "test@example.com")
    project.params(shrink)
    return project


def shrink(content: dict[str, Any]) -> None:
    """Makes params.yaml fit a handful of pictures on loopback."""
    content["snapshots"], content["objectives"] = [], ["clip"]
    content["download"] |= {"demo_site": None, "allow_addresses": ["127.0.0.0/8"], "deadline_s": 5.0}
    content["train"] |= {"epochs": 2, "batch_size": 8}
    content["scorer"]["train"] |= {"epochs": 1, "batch_size": 8}
    content["select"]["on_excess"] = "warn"
    # of so few rows a fraction is one or none
    content["select"]["rules"] = [rule for rule in content["select"]["rules"] if rule["rule"] != "top_fraction"]
    content["pack"]["rows_per_shard"] = 16
    content["download"]["rows_per_shard"] = 16
    content["evaluate"]["protocols"]["probe"]["epochs"] = 2


def picture(number: int, kind: str) -> bytes:
    """Returns a small picture that no other number has."""
    generator = np.random.default_rng(number)
    pixels = np.kron(generator.integers(0, 255, (6, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind)
    return target.getvalue()


def write_pictures(folder: Path, numbers: range) -> None:
    """Lays pictures down for a server."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        kind = ("PNG", "JPEG")[number % 2]
        (folder / f"{number}.{kind.lower()}").write_bytes(picture(number, kind))


def write_list(path: Path, base: str, numbers: range) -> None:
    """Writes a csv list of the pictures, with two rows that fail and one repeated."""
    kinds = ("png", "jpeg")
    rows = [f"{base}/{number}.{kinds[number % 2]},picture number {_words(number)}" for number in numbers]
    rows += [f"{base}/missing.png,a picture that is not there", "not a url,nothing", rows[0]]
    path.write_text("url,caption\n" + "\n".join(rows) + "\n")


def _words(number: int) -> str:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return f"{number} with a {('red', 'green', 'blue')[int(digest[0], 16) % 3]} square"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Yields the address of a plain web server of a folder on loopback."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""
