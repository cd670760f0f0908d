"""A web server on an ephemeral loopback port, in a thread of its own while a context is open."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from aiohttp import web

_SHUTDOWN_S = 0.1
"""How long an open answer may hold up the end."""


class LoopbackServer:
    """The frame of a server: who derives from it answers requests, and may set up and clear up around them."""

    port: int

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        else:  # it ended by itself: nobody there would ever answer us
            self._loop.run_until_complete(self._stop())
        self._loop.close()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Returns the answer to one request."""
        raise NotImplementedError

    async def set_up(self) -> None:
        """Runs in the server's loop before the first request."""

    async def clear_up(self) -> None:
        """Runs in the server's loop after the last request."""

    async def _start(self) -> int:
        await self.set_up()
        answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = self.answer
        server = web.Server(answer, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.clear_up()
