"""The frame of our loopback servers: up while the context is open, gone after it, no request holds it up."""

import asyncio
import socket
import threading
import time
import urllib.request

import pytest
from aiohttp import web

from pipelines.web.loopback import LoopbackServer


class Echo(LoopbackServer):
    def __init__(self) -> None:
        self.events: list[str] = []

    async def set_up(self) -> None:
        self.events.append("up")

    async def clear_up(self) -> None:
        self.events.append("down")

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/slow":
            await asyncio.sleep(60)
        return web.Response(text=request.path)


def test_it_answers_while_open_and_is_gone_after() -> None:
    with Echo() as server:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/hello") as response:
            assert response.read() == b"/hello"
        assert server.events == ["up"]
    assert server.events == ["up", "down"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


def test_an_open_request_does_not_hold_up_the_end() -> None:
    def ask(port: int) -> None:
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/slow").read()

    with Echo() as server:
        asker = threading.Thread(target=ask, args=(server.port,))
        asker.start()
        time.sleep(0.2)
        started = time.monotonic()
    assert time.monotonic() - started < 10
    asker.join(timeout=10)
    assert not asker.is_alive()


def test_a_server_that_ended_by_itself_is_cleared_up() -> None:
    with Echo() as server:
        server._loop.call_soon_threadsafe(server._loop.stop)
        server._thread.join(timeout=10)
        assert not server._thread.is_alive()
    assert server.events == ["up", "down"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
