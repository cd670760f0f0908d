"""A web server on loopback that misbehaves as told, byte for byte, and counts what it was asked."""

import asyncio
import collections
import contextlib
import io
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from pipelines.web.loopback import LoopbackServer

Answer = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
"""Writes the answer to the n-th request (from 1) of its path."""
Headers = Mapping[str, str] | Sequence[tuple[str, str]]


def picture(shade: int = 0, size: int = 8) -> bytes:
    """Returns a small PNG."""
    made = io.BytesIO()
    Image.new("RGB", (size, size), (shade, 2 * shade % 256, 90)).save(made, "PNG")
    return made.getvalue()


def head(status: int, headers: Headers, length: int | None) -> bytes:
    """Returns the head of an answer; without a length the body ends with the connection."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [f"HTTP/1.1 {status} -", "Connection: close", *(f"{name}: {value}" for name, value in pairs)]
    lines += [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def answer(
    body: bytes = b"",
    status: int = 200,
    headers: Headers = (),
    *,
    short_by: int = 0,
    delay_s: float = 0.0,
) -> Answer:
    """Returns an honest answer, or one that promises `short_by` bytes more than it has."""

    async def write(writer: asyncio.StreamWriter, _: int) -> None:
        await asyncio.sleep(delay_s)
        writer.write(head(status, headers, len(body) + short_by))
        writer.write(body)

    return write


def raw(content: bytes) -> Answer:
    """Returns an answer of these very bytes, then the end of the connection."""

    async def write(writer: asyncio.StreamWriter, _: int) -> None:
        writer.write(content)

    return write


def then(*answers: Answer) -> Answer:
    """Returns the first answer to the first request, and so on; the last one to all others."""

    async def write(writer: asyncio.StreamWriter, number: int) -> None:
        await answers[min(number, len(answers)) - 1](writer, number)

    return write


async def drip(writer: asyncio.StreamWriter, _: int) -> None:
    """A picture that never ends: one byte every 50 ms, so that no time-out between bytes sees it."""
    writer.write(head(200, {"Content-Type": "image/png"}, None) + picture())
    while not writer.is_closing():
        writer.write(b"\0")
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless(writer: asyncio.StreamWriter, _: int) -> None:
    """A body without a declared length and without an end, as fast as it is read."""
    writer.write(head(200, {}, None) + picture())
    while not writer.is_closing():
        writer.write(bytes(1 << 16))
        await writer.drain()


async def reset(writer: asyncio.StreamWriter, _: int) -> None:
    """A connection broken off in the middle of the head."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-")
    await writer.drain()
    writer.transport.abort()


class FaultServer(LoopbackServer):
    """The answers by path, served in a thread of its own while the context is open; 404 for any other path.

    Attributes:
        port: the port on its host, once the context is open.
        hits: how often each path was asked for.
        heads: the lines of every request's head, in order.
        most_at_once: how many answers were under way at once at most, by the first part of their paths.
    """

    def __init__(
        self, answers: Mapping[str, Answer], tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.answers = dict(answers)
        self.hits: collections.Counter[str] = collections.Counter()
        self.heads: list[list[str]] = []
        self.most_at_once: collections.Counter[str] = collections.Counter()
        self._under_way: collections.Counter[str] = collections.Counter()
        self.port = 0
        self._tls, self._host = tls, host

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def _start(self) -> int:
        self._server = await asyncio.start_server(self._serve, self._host, 0, ssl=self._tls)
        return int(self._server.sockets[0].getsockname()[1])

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = lines[0].split()[1]
            self.hits[path] += 1
            self.heads.append(lines)
            first = path[: path.find("/", 1) + 1]
            self._under_way[first] += 1
            self.most_at_once[first] = max(self.most_at_once[first], self._under_way[first])
            try:
                await self.answers.get(path, answer(b"no such page", 404))(writer, self.hits[path])
                await writer.drain()
            finally:
                self._under_way[first] -= 1
        with contextlib.suppress(OSError, asyncio.CancelledError):
            writer.close()
            await writer.wait_closed()


def self_signed(folder: Path) -> ssl.SSLContext:
    """Returns a server's TLS context with a fresh certificate that nobody vouches for."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command: list[Any] = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=a.demo.test", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
