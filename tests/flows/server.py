"""A Prefect server of a test's own on loopback, and `python -m flows serve` beside it, both as processes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.pipelines.processes import command_line, descendants
from tests.project import Project

READY_S = 120.0
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
T = TypeVar("T")


def until(what: str, look: Callable[[], T | None], within_s: float) -> T:
    """Returns what `look` finds as soon as it finds something."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.1)
    return found


def free_port() -> int:
    """Returns a port of loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class PrefectServer:
    """`prefect server start` with a home of its own; SQLite unless a database is named."""

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.home, self.port = folder / "prefect", free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.home.mkdir(parents=True)
        self._database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database} if database else {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> dict[str, str]:
        """What server and clients share; nothing of it calls home."""
        return {
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        }

    @property
    def env(self) -> dict[str, str]:
        """What a client has in its environment beside everything else."""
        return {**self.settings, "PREFECT_API_URL": self.url, "PREFECT_RUNNER_POLL_FREQUENCY": "2"}

    @property
    def log(self) -> Path:
        """Where the server's words go."""
        return self.home / "server.log"

    def start(self) -> "PrefectServer":
        """Starts it, after a kill on the same port and home, and waits until it answers."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        words = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=self.home,
                env={**ours, **self.settings, **self._database},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until("the server answers", self._is_healthy, READY_S)
        return self

    def kill(self) -> None:
        """Ends it by SIGKILL, as a machine does that goes down."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it in good order."""
        self._end(signal.SIGTERM)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Returns what the API answers."""
        with httpx.Client(base_url=self.url, timeout=60) as client:

            def look() -> httpx.Response | None:
                answer = client.request(method, path, json=body)
                return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

            answer = until(f"{method} {path}: SQLite is free", look, READY_S)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def deployment(self, name: str, within_s: float = READY_S) -> dict[str, Any]:
        """Returns the deployment `FLOW/NAME`, once somebody has made it."""
        path = f"/deployments/name/{name}"

        def look() -> dict[str, Any] | None:
            with httpx.Client(base_url=self.url, timeout=60) as client:
                answer = client.get(path)
            found: dict[str, Any] = answer.json()
            return found if answer.is_success else None

        return until(f"deployment {name}", look, within_s)

    def trigger(self, name: str, /, **parameters: Any) -> str:
        """Starts a run of the deployment `FLOW/NAME` and returns its id."""
        made = self.ask(
            "POST", f"/deployments/{self.deployment(name)['id']}/create_flow_run", {"parameters": parameters}
        )
        return str(made["id"])

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Returns flow runs, the one that was to start first leading."""
        found: list[dict[str, Any]] = self.ask(
            "POST", "/flow_runs/filter", {"flow_runs": filters, "sort": "EXPECTED_START_TIME_ASC"}
        )
        return found

    def run(self, flow_run: str) -> dict[str, Any]:
        """Returns one flow run."""
        found: dict[str, Any] = self.ask("GET", f"/flow_runs/{flow_run}")
        return found

    def below(self, flow_run: str) -> list[dict[str, Any]]:
        """Returns the flow runs that a flow run began."""
        return self.runs(parent_flow_run_id={"any_": [flow_run]})

    def tasks(self, flow_run: str) -> dict[str, set[str]]:
        """Returns {task run: names of its states} of a flow run and of those it began; a refresh reproduces twice."""
        ids = [flow_run, *(str(run["id"]) for run in self.below(flow_run))]
        found = self.ask(
            "POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": ids}}, "sort": "EXPECTED_START_TIME_ASC"}
        )
        states: dict[str, set[str]] = {}
        for task in found:
            states.setdefault(task["name"], set()).add(task["state_name"])
        return states

    def wait_for(self, flow_run: str, types: Collection[str], within_s: float) -> dict[str, Any]:
        """Returns a flow run once its state is of one of the types."""

        def look() -> dict[str, Any] | None:
            found = self.run(flow_run)
            return found if found["state_type"] in types else None

        return until(f"run {flow_run} is {' or '.join(types)}", look, within_s)

    def finished(self, deployment: str, number: int, within_s: float) -> dict[str, Any]:
        """Returns the run of a deployment with that number, from 0, as it is once it has ended."""

        def look() -> dict[str, Any] | None:
            found = self.runs(deployment_id={"any_": [deployment]})[number : number + 1]
            return found[0] if found and found[0]["state_type"] in ENDS else None

        return until(f"end of run {number} of {deployment}", look, within_s)

    def _is_healthy(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log.read_text()[-3000:]
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/health", timeout=5).is_success
        return False

    def _end(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Serving:
    """`python -m flows serve` at work in a project."""

    def __init__(self, project: Project, server: PrefectServer) -> None:
        self.project, self.server = project, server
        self.log = project.folder.parent / "serve.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows", "serve"],
                cwd=project.folder,
                env={**project.env, **server.env},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> "Serving":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pids(self) -> set[int]:
        """Its process and all below it."""
        return {self._process.pid, *descendants(self._process.pid)}

    def flow_pid(self, flow_run: str) -> int:
        """Returns the process that a flow run goes on in, once it is there."""
        mark = f"PREFECT__FLOW_RUN_ID={flow_run}".encode()

        def look() -> int | None:
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            return next((pid for pid in _children(self._process.pid) if mark in _environment(pid)), None)

        return until(f"a process of run {flow_run}", look, READY_S)

    def kill(self) -> None:
        """Ends `serve` itself, and nothing below it, by SIGKILL."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Ends it as Ctrl-C does, and whatever it leaves."""
        if self._process.poll() is not None:
            return
        below = self.pids
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        for pid in below - {self._process.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def at_work(folder: Path, but: Collection[int] = ()) -> list[str]:
    """Returns the command lines of processes that work in a folder or below it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(folder) and int(entry.name) not in but:
                found.append(command_line(int(entry.name)))
    return [line for line in found if line]


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
