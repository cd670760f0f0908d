"""A first day with Prefect in a namespace of loopback alone: `python -m tests.flows.offline FOLDER BASE` under unshare.

FOLDER/names.txt lists each name that was asked of a name server, a section for each part of the day.
"""

import fcntl
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

from tests.flows import checkouts, pictures
from tests.flows.server import PrefectServer, Serving
from tests.project import Project

PROBE = "probe.clipline.example"
"""Asked for on purpose, as is 192.0.2.1: who does not see these two sees nothing."""
ONCE = ("benchmarks", "screen", "scorer", "embed_tests")
"""Stages that a refresh leaves as they are."""
PARTS = ("probe", "set-up", "runs", "work-pool create")
_SIOCSIFFLAGS, _IFF_UP, _IFF_RUNNING = 0x8914, 0x1, 0x40
_NO_SUCH_NAME = 0x8183


class Names:
    """A name server on loopback that knows no name and notes those it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._noted = folder / "names.txt"
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        subprocess.run(["mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf"], check=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._answer, daemon=True).start()

    def part(self, name: str) -> None:
        """Begins a part of the list."""
        self._note(f"[{name}]")

    def _answer(self) -> None:
        while True:
            asked, sender = self._socket.recvfrom(512)
            self._note(question(asked))
            number = asked[:2] + struct.pack(">5H", _NO_SUCH_NAME, 1, 0, 0, 0)
            self._socket.sendto(number + asked[12 : 12 + len(question(asked)) + 6], sender)

    def _note(self, line: str) -> None:
        with self._noted.open("a") as file:
            file.write(f"{line}\n")


def question(packet: bytes) -> str:
    """Returns the name that a DNS query asks for."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("ascii", "replace"))
        at += 1 + packet[at]
    return ".".join(labels)


def raise_loopback() -> None:
    """Does what `ip link set lo up` does."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP | _IFF_RUNNING))


def probe() -> None:
    """Tries to leave, by name and by number, in a process of its own."""
    for host in (PROBE, "192.0.2.1"):
        code = f"import socket; socket.create_connection(({host!r}, 443), timeout=5)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode != 0, f"{host} was reached"


def deploy(project: Project, server: PrefectServer) -> None:
    """Sets the server and a worker up as docs/operations.md says; the worker is ended once it has made its pool."""
    project.env |= server.env
    project.run("python", "-m", "flows", "setup")
    worker = ("worker", "start", "--pool", "clipline", "--type", "process", "--run-once")
    project.run("python", "-m", "prefect", *worker)
    project.run("python", "-m", "prefect", "--no-prompt", "deploy", "--all")


def refresh(project: Project, server: PrefectServer) -> None:
    """Has a new list go through the DAG, in a run that `python -m flows serve` starts."""
    with Serving(project, server):
        flow_run = server.trigger("refresh/weekly", **checkouts.WATCHING)
        ended = server.wait_for(flow_run, ("COMPLETED", "FAILED", "CRASHED", "PAUSED"), 600)
        assert ended["state_name"] == "Refreshed", ended["state"]
        flow_run = server.trigger("verify/nightly")
        ended = server.wait_for(flow_run, ("COMPLETED", "FAILED", "CRASHED"), 300)
        assert ended["state_name"] == "Verified", ended["state"]


def main(folder: Path, base: Path) -> None:
    """Runs the day in a copy of a project with one snapshot: between them set-up and refresh run every stage."""
    raise_loopback()
    names = Names(folder)
    names.part("probe")
    probe()
    pictures.write(folder / "site", range(40))
    with pictures.Site(folder / "site") as site:
        names.part("set-up")
        server = PrefectServer(folder).start()
        try:
            project = checkouts.copy(Project(base), folder / "base")
            project.run("python", "-m", "dvc", "add", "--quiet", "data/sets/emoji")
            assert {name.split("@")[0] for name in project.repro("--force", "--single-item", *ONCE)} == set(ONCE)
            project.commit("once more")
            deploy(project, server)
            names.part("runs")
            pictures.write_list(project.folder / "incoming/second.csv", site.base, checkouts.LISTED[checkouts.SECOND])
            refresh(project, server)
            names.part("work-pool create")
            project.run("python", "-m", "prefect", "work-pool", "create", "other", "--type", "process")
        finally:
            server.stop()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
