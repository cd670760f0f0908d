"""Server, deployments, runs and DVC with loopback alone: every attempt to leave the machine is found and named."""

import ipaddress
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows import offline
from tests.project import ROOT, Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

UNSHARE = ("unshare", "--map-root-user", "--net", "--mount")
STRACE = ("strace", "--follow-forks", "--seccomp-bpf", "--quiet=all", "-e", "trace=connect,sendto,sendmsg,sendmmsg")
_ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
_DAEMON = re.compile(r'connect\(.*sun_path="([^"]*(?:nscd|systemd/resolve|avahi)[^"]*)".* = 0$')
"""Who asks one of these for a name has the question leave by another process."""


def skip_where_it_cannot_run() -> None:
    for program in ("unshare", "strace"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    done = subprocess.run([*UNSHARE, *STRACE, "-o", "/dev/null", "true"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no namespaces or no tracing here: {done.stderr.strip()}")


def reached_for(trace: str) -> set[str]:
    """Returns the addresses outside loopback, and daemons that resolve names, that a trace shows reached for."""
    found = set()
    for line in trace.splitlines():
        for port, host in _ADDRESS.findall(line):
            address = ipaddress.ip_address(host)
            mapped = getattr(address, "ipv4_mapped", None) or address
            if not (mapped.is_loopback or mapped.is_unspecified):
                found.add(f"{host} {port}")
        found.update(_DAEMON.findall(line))
    return found


def named() -> set[str]:
    """Returns the hosts that docs/operations.md names."""
    text = (ROOT / "docs/operations.md").read_text()
    section = text.split("### What leaves the machine\n", 1)[1].split("\n### ", 1)[0]
    return set(re.findall(r"`([a-z0-9-]+(?:\.[a-z0-9-]+)+)`", section))


@pytest.fixture(scope="module")
def day(base: Project, module_folder: Path) -> tuple[dict[str, set[str]], str]:
    """Names asked for by part of the day, and the trace of every connection and message."""
    skip_where_it_cannot_run()
    trace, words = module_folder / "trace", ["-m", "tests.flows.offline", str(module_folder), str(base.folder)]
    command = [*UNSHARE, *STRACE, "-o", str(trace), sys.executable, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    parts: dict[str, set[str]] = {}
    for line in (module_folder / "names.txt").read_text().splitlines():
        if line.startswith("["):
            parts[line.strip("[]")] = set()
        else:
            parts[list(parts)[-1]].add(line)
    return parts, trace.read_text(errors="replace")


def test_what_tries_to_leave_is_seen(day: tuple[dict[str, set[str]], str]) -> None:
    names, trace = day
    assert tuple(names) == offline.PARTS
    assert names["probe"] == {offline.PROBE}
    assert "192.0.2.1 443" in reached_for(trace)


def test_set_up_and_runs_ask_for_nothing_outside(day: tuple[dict[str, set[str]], str]) -> None:
    names, trace = day
    assert names["set-up"] == set()
    assert names["runs"] == set()
    assert reached_for(trace) == {"192.0.2.1 443"}


def test_what_else_is_asked_for_is_named_in_the_operations_chapter(day: tuple[dict[str, set[str]], str]) -> None:
    names, _ = day
    assert names["work-pool create"] == {"raw.githubusercontent.com"} <= named()
