"""A web of synthetic pictures: several hosts on loopback, served by one process that counts what it is asked.

    python benchmarks/loopback_site.py ALBUM [--hosts 10] [--latency-ms 0]

Hosts are 127.0.1.1, 127.0.1.2, ... with a port each; picture N lies at the host N modulo their number, as /N.jpg or
/N.png. Once it serves it writes a line of JSON, the addresses; it answers a line on its standard input with the
counts since the last one, and ends when its input does. `Site` does all that.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import synthetic

_HEAD_END = b"\r\n\r\n"
_KINDS = {"jpg": "image/jpeg", "png": "image/png"}
_WINDOW_S = 1.0


class Site:
    """The web of an album, in a process of its own while the context is open.

    Attributes:
        addresses: host and port of each host.
    """

    addresses: list[tuple[str, int]]

    def __init__(self, album: Path, num_hosts: int, latency_ms: float = 0.0) -> None:
        """Takes the album, the number of hosts, and how long an answer is held back."""
        options = ["--hosts", str(num_hosts), "--latency-ms", str(latency_ms)]
        self._command = [sys.executable, __file__, str(album), *options]

    def __enter__(self) -> Self:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(self._command, text=True, **pipes)  # type: ignore[call-overload]
        self.addresses = [(host, port) for host, port in self._read()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def url(self, number: int) -> str:
        """Returns where a picture lies."""
        host, port = self.addresses[number % len(self.addresses)]
        return f"http://{host}:{port}/{number}.{synthetic.extension(number)}"

    def counts(self) -> dict[str, Any]:
        """Returns what was asked since the last call.

        requests: in all; peak_per_s: most requests that one host got within any second; peak_at_once: most that were
        under way at one host at once.
        """
        self._process.stdin.write("counts\n")
        self._process.stdin.flush()
        return cast(dict[str, Any], self._read())

    def _read(self) -> Any:
        return json.loads(self._process.stdout.readline())


class Counts:
    """What the hosts were asked."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.under_way: dict[str, int] = {}
        self.at_once = 0

    def begin(self, host: str) -> None:
        """Notes a request."""
        self.times.setdefault(host, []).append(time.monotonic())
        self.under_way[host] = self.under_way.get(host, 0) + 1
        self.at_once = max(self.at_once, self.under_way[host])

    def end(self, host: str) -> None:
        """Notes that it was answered."""
        self.under_way[host] -= 1

    def taken(self) -> dict[str, Any]:
        """Returns the counts and begins anew."""
        peak = max((peak_rate(times) for times in self.times.values()), default=0)
        total = sum(map(len, self.times.values()))
        found = {"requests": total, "peak_per_s": peak, "peak_at_once": self.at_once}
        self.times, self.at_once = {}, 0
        return found


def peak_rate(times: list[float]) -> int:
    """Returns how many of some moments, in order, at most lie within one second."""
    moments = np.array(times)
    return int((np.searchsorted(moments, moments + _WINDOW_S) - np.arange(len(moments))).max(initial=0))


class Connection(asyncio.Protocol):
    """One connection to one host; requests on it are answered in turn."""

    def __init__(self, host: str, album: synthetic.Album, counts: Counts, latency_s: float) -> None:
        self._host, self._album, self._counts, self._latency_s = host, album, counts, latency_s
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Takes requests in."""
        self._buffer += data
        while _HEAD_END in self._buffer:
            head, self._buffer = self._buffer.split(_HEAD_END, 1)
            self._counts.begin(self._host)
            if self._latency_s:
                asyncio.get_running_loop().call_later(self._latency_s, self._answer, head)
            else:
                self._answer(head)

    def _answer(self, head: bytes) -> None:
        self._counts.end(self._host)
        if self._transport.is_closing():
            return
        status, kind, body = self._found(head.split(b" ", 2)[1].decode())
        ends = b"connection: close" in head.lower()
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
        lines += ["Connection: close"] if ends else []
        self._transport.write("\r\n".join(lines).encode() + _HEAD_END + body)
        if ends:
            self._transport.close()

    def _found(self, path: str) -> tuple[str, str, bytes]:
        number, _, ending = path.strip("/").partition(".")
        if number.isdecimal() and int(number) < len(self._album):
            return "200 OK", _KINDS[ending], self._album[int(number)]
        return "404 Not Found", "text/plain", b"no such page\n"  # robots.txt, tdmrep.json


async def serve(album: synthetic.Album, num_hosts: int, latency_s: float) -> None:
    """Serves until the standard input ends."""
    loop, counts, addresses, servers = asyncio.get_running_loop(), Counts(), [], []
    for number in range(1, num_hosts + 1):
        host = f"127.0.1.{number}"
        server = await loop.create_server(
            lambda host=host: Connection(host, album, counts, latency_s),  # type: ignore[misc]
            host,
            0,
            backlog=1024,
        )
        servers.append(server)
        addresses.append((host, server.sockets[0].getsockname()[1]))
    _write(addresses)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        _write(counts.taken())
    for server in servers:
        server.close()


def _write(content: Any) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serves an album."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("album", type=Path)
    parser.add_argument("--hosts", type=int, default=10, help="at most 254")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="how long an answer is held back")
    options = parser.parse_args()
    asyncio.run(serve(synthetic.Album(options.album), options.hosts, options.latency_ms / 1000))


if __name__ == "__main__":
    main()
