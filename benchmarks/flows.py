"""What Prefect costs: flow reproduce over the demo's whole DAG against `dvc repro`, nothing to do and one stage to do.

    python benchmarks/flows.py [--rounds 3] [--root CHECKOUT]

Both run in a git worktree of a checkout, which must have been reproduced and committed (`make demo`), with a Prefect
server of their own on loopback. For the changed stage a comment goes to the end of stage compare's code: it runs anew
and makes the same bytes, so no other stage follows. The flow without a server, which Prefect then starts for it, is
told apart.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import contest
from contest import ROOT, Contender, Heat

sys.path.insert(0, str(ROOT))
from flows import graph, repository

_BRANCH = "benchmark/flows"
_CHANGED = Path("cyclip_model/compare.py")
_READY_S = 120.0


def main() -> None:
    """Measures."""
    parser = contest.parser(__doc__, rows=0, rounds=3)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to take a worktree of")
    options = parser.parse_args()
    checkout = repository.at(options.root)
    tree = repository.worktree(checkout, _BRANCH, contest.say)
    home = Path(tempfile.mkdtemp(prefix="prefect"))
    try:
        subprocess.run([sys.executable, "-m", "dvc", "checkout", "--quiet"], cwd=tree.root, check=True)
        with server(home) as environment:
            heats = measure(tree.root, environment, options.rounds)
        alone = contest.hold([flow("reproduce, own server", tree.root, _environment(home / "alone"))], options.rounds)
    finally:
        repository.drop(checkout, tree, _BRANCH)
        shutil.rmtree(home)
    quiet, changed = (heat.runs for heat in heats)
    facts = {
        "nothing to do, flow with a server, s": contest.median(quiet["reproduce"], "wall_s"),
        "one stage, more than dvc repro, s": round(
            contest.median(changed["reproduce"], "wall_s") - contest.median(changed["dvc repro"], "wall_s"), 2
        ),
        "nothing to do, flow that starts its own server, s": contest.median(alone["reproduce, own server"], "wall_s"),
    }
    contest.report("flows", heats, facts, options.results)


def measure(root: Path, environment: dict[str, str], rounds: int) -> list[Heat]:
    """Returns both heats; rows are stages."""
    num_stages = len(graph.read(root))
    dvc = Contender(
        name="dvc repro", command=[sys.executable, "-m", "dvc", "repro"], folder=root, environment=environment
    )
    contest.measured(dvc)  # whatever is not yet as the lock says
    quiet = contest.hold([dvc, flow("reproduce", root, environment)], rounds)
    touch = partial(_touch, root / _CHANGED)
    ours = flow("reproduce", root, environment)
    changing = [
        Contender(name=one.name, command=one.command, folder=root, environment=environment, prepare=touch)
        for one in (dvc, ours)
    ]
    changed = contest.hold(changing, rounds)
    return [
        Heat(title="nothing to do", rows=num_stages, runs=quiet, goal="reproduce in less than 20 s"),
        Heat(title="one stage to do", rows=num_stages, runs=changed, goal="reproduce at most 10 s more"),
    ]


def flow(name: str, root: Path, environment: dict[str, str]) -> Contender:
    """Returns the flow as a command."""
    command = [sys.executable, "-m", "flows", "reproduce"]
    return Contender(name=name, command=command, folder=root, environment=environment)


@contextlib.contextmanager
def server(home: Path) -> Iterator[dict[str, str]]:
    """Yields the environment of clients of a Prefect server, which runs while the context is open."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    environment = _environment(home)
    log = (home / "server.log").open("wb")
    with log, subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log) as started:
        try:
            _wait(f"http://127.0.0.1:{port}/api/health", started)
            yield {**environment, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        finally:
            started.terminate()


def _environment(home: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    quiet = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DVC_NO_ANALYTICS": "1"}
    return {"PATH": path, "PREFECT_HOME": str(home), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120", **quiet}


def _wait(url: str, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_S
    while started.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own server
            return
        time.sleep(0.2)
    raise RuntimeError("the Prefect server did not start")


def _touch(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write("#\n")


if __name__ == "__main__":
    main()
