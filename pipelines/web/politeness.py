"""How a host is approached: few fetches at once, a pause between two, and none for as long as it asks us to wait.

A host is a name, whatever the scheme or port. Names that share an address, as a content network's do, are counted
apart; all hosts together never get more than the gateway's own number of connections.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

_NUM_REMEMBERED = 4096
"""Hosts beyond which those with nothing to remember are forgotten."""
_PATIENCE = 20
"""Complaints in a row after which a host is left alone for a while, whatever it says."""
_LEFT_ALONE = 10
"""That while, in longest waits: all fetches that fall into it fail."""
_RECOVERY = 0.9
"""Factor on a slowed host's delay for every answer without complaint."""


class HostClosedError(Exception):
    """A host that asked to be left alone for longer than we wait."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


class _Host:
    """What is known of one host."""

    def __init__(self, connections: int, delay_s: float) -> None:
        self.slots = asyncio.Semaphore(connections)
        self.delay_s = delay_s
        self.next_start = 0.0
        self.closed_until = 0.0
        self.num_users = 0
        self.num_complaints = 0
        """In a row."""
        self.complaint = ("", "")
        """Reason and words of the last answer that asked us to wait."""


class Politeness:
    """The turns of all hosts; belongs to one event loop."""

    def __init__(
        self, *, num_connections: int, host_connections: int, host_delay_s: float, backoff_s: float, max_wait_s: float
    ) -> None:
        """Takes the fetches at once in all and to one host, and s: between two starts, of a first pause, at most."""
        self._connections, self._delay_s = host_connections, host_delay_s
        self._backoff_s, self._max_wait_s = backoff_s, max_wait_s
        self._hosts: dict[str, _Host] = {}
        self._sweep_at = _NUM_REMEMBERED
        self._all = asyncio.Semaphore(num_connections)

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Waits, however long that takes, until the host may be asked, and keeps its slot while the context is open.

        A connection is taken last of all: who waits for a host keeps none from the others.

        Raises:
            HostClosedError: at once, if the host asked for a longer wait than any we keep.
        """
        host = self._host(name)
        host.num_users += 1
        try:
            async with host.slots:
                await self._start(host)
                try:
                    yield
                finally:
                    self._all.release()
        finally:
            host.num_users -= 1

    def slow_down(self, name: str, retry_after_s: float | None, *, reason: str, message: str) -> None:
        """Holds all that wait for the host back: as long as it says, or for a pause that doubles with each complaint.

        Fetches that were under way together complain together: what comes within a pause is no new complaint.

        Args:
            reason, message: what becomes of fetches that would have to wait longer than we do.
        """
        host, now = self._host(name), time.monotonic()
        if now >= host.closed_until:
            host.num_complaints += 1
            slower = min(max(2 * host.delay_s, self._backoff_s), self._max_wait_s)
            host.delay_s = max(host.delay_s, slower)
        pause = host.delay_s if retry_after_s is None else retry_after_s
        if host.num_complaints >= _PATIENCE:  # or a server that never has enough would hold up its URLs for days
            pause, host.num_complaints = max(pause, _LEFT_ALONE * self._max_wait_s), 0
        host.closed_until = max(host.closed_until, now + pause)
        host.next_start = max(host.next_start, host.closed_until)
        host.complaint = (reason, message)

    def speed_up(self, name: str) -> None:
        """Takes back part of what complaints slowed down, after an answer without one."""
        host = self._host(name)
        host.num_complaints = 0
        if host.delay_s > self._delay_s:
            slower = host.delay_s * _RECOVERY
            host.delay_s = slower if slower > self._delay_s + 0.001 else self._delay_s

    async def _start(self, host: _Host) -> None:
        """Returns with a connection taken and the host's delay kept."""
        while True:
            while (wait := host.next_start - time.monotonic()) > 0:
                closed = host.closed_until - time.monotonic()
                if closed > self._max_wait_s:
                    reason, message = host.complaint
                    raise HostClosedError(reason, f"{message}; not to be asked for another {closed:.0f} s")
                await asyncio.sleep(wait)
            await self._all.acquire()
            now = time.monotonic()
            if host.next_start <= now:
                host.next_start = now + host.delay_s
                return
            self._all.release()  # another one has started meanwhile

    def _host(self, name: str) -> _Host:
        name = name.rstrip(".")
        if name not in self._hosts:
            if len(self._hosts) >= self._sweep_at:
                self._sweep()
            self._hosts[name] = _Host(self._connections, self._delay_s)
        return self._hosts[name]

    def _sweep(self) -> None:
        now = time.monotonic()
        self._hosts = {
            name: host
            for name, host in self._hosts.items()
            if host.num_users or host.next_start > now or host.delay_s > self._delay_s
        }
        self._sweep_at = 2 * len(self._hosts) + _NUM_REMEMBERED
