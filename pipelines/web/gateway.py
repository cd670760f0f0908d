"""The gateway between img2dataset and the web.

img2dataset is given `http://gateway.invalid/UID` and this server as its http_proxy, so it never resolves, follows or
trusts anything itself. The gateway looks the uid's URL up, answers from the store where it has a record, fetches it
once where it has none, and stores what came before it answers. URLs that stand in the list several times, under
other captions, are fetched once.

img2dataset keeps one request open in each of its few threads, in the order of the list: left to that, a slow host would
soon have all of them wait for it. So the gateway may work ahead of the requests, on many hosts at once; the requests
then find most of their answers in the store. While one has to wait it is sent an interim response every now and then:
img2dataset's time-out is for each read of its socket, so that the wait may be as long as it takes.
"""

import asyncio
import dataclasses
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import aiohttp

from pipelines.web import rounds
from pipelines.web.addresses import AddressPolicy, CheckedResolver
from pipelines.web.consent import Consent, ConsentStore
from pipelines.web.fetch import FetchLimits, Web
from pipelines.web.fetch_record import FetchRecord
from pipelines.web.loopback import LoopbackServer
from pipelines.web.politeness import Politeness
from pipelines.web.store import FetchStore

HOST = "gateway.invalid"
REASON_HEADER = "X-Clipline-Reason"
HEARTBEAT_S = 10.0
"""Time between two interim responses to a request that waits."""
SILENCE_S = 60.0
"""A gateway that is silent for so long is dead: the time-out to give to its clients."""
_HEAD_END = b"\r\n\r\n"
_INTERIM = b"HTTP/1.1 100 Continue" + _HEAD_END
_BACKLOG = 1024
_WINDOW = 2000
"""URLs worked on ahead of the requests: more than a slow host can have among them, unless most are its own."""
_IDLE_CONNECTION_S = 5.0


class Gateway(LoopbackServer):
    """A proxy on an ephemeral loopback port, running in a thread of its own while the context is open.

    Attributes:
        num_fetched: how many URLs went to the web, not to the store.
        num_answered: how many requests were answered.
    """

    def __init__(
        self,
        urls: Mapping[str, str],
        store: FetchStore,
        *,
        policy: AddressPolicy,
        limits: FetchLimits,
        user_agent: str,
        sites: Mapping[str, int],
        num_connections: int,
    ) -> None:
        """Takes {uid: URL}, the snapshot's store and the rules of the fetch; `sites` are the demo's hosts."""
        self._urls, self._store = urls, store
        self._policy, self._limits = policy, limits
        self._user_agent, self._sites, self._num_connections = user_agent, dict(sites), num_connections
        self._by_url: dict[str, asyncio.Task[FetchRecord]] = {}
        self._pending: dict[str, asyncio.Task[FetchRecord]] = {}
        self._num_open, self._last_open = 0, time.monotonic()
        self.num_fetched = self.num_answered = 0
        self._error: Exception | None = None

    @property
    def url(self) -> str:
        """The proxy's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def idle_s(self) -> float:
        """Time since an answer was last sought, s; 0 while one is: it will be found in bounded time.

        A client that does not ask, or does not take its answer, does not count: it may never do so.
        """
        return 0.0 if self._num_open else time.monotonic() - self._last_open

    def raise_error(self) -> None:
        """Does nothing while the store is in order and the gateway at work.

        Raises:
            ValueError: if a stored body is damaged, or the gateway has ended by itself.
            OSError: if the store cannot be written.
        """
        if self._error is not None:
            raise self._error
        if not self._thread.is_alive():
            raise ValueError("the gateway has ended by itself; run the stage again")

    def work_ahead(self, uids: Iterable[str]) -> None:
        """Begins to fetch what the store has no record of, in this order, whether or not it is asked for yet.

        Args:
            uids: taken as the work proceeds, in the gateway's thread.
        """
        asyncio.run_coroutine_threadsafe(self._work_ahead(uids), self._loop)

    async def set_up(self) -> None:
        """Opens the client session that fetches."""
        # names are resolved in threads, and dead ones keep theirs for seconds
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(self._num_connections))
        resolver = CheckedResolver(self._policy, self._sites)
        connector = aiohttp.TCPConnector(
            limit=0, resolver=resolver, use_dns_cache=False, keepalive_timeout=_IDLE_CONNECTION_S
        )
        headers = {"User-Agent": self._user_agent, "Accept": "image/*", "Accept-Encoding": "identity"}
        # the environment's own proxy settings must not lead around the checks; the deadline is asyncio's
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        limits = self._limits
        hosts = Politeness(
            num_connections=self._num_connections,
            host_connections=limits.host_connections,
            host_delay_s=limits.host_delay_s,
            backoff_s=limits.backoff_s,
            max_wait_s=limits.max_wait_s,
        )
        self._web = Web(self._session, policy=self._policy, limits=limits, hosts=hosts)
        self._consents = ConsentStore(self._store.root, self._store.snapshot)
        self._consent = Consent(self._web, self._consents)

    async def clear_up(self) -> None:
        """Closes the client session."""
        await self._session.close()
        self._consents.close()

    async def _start(self) -> int:
        await self.set_up()
        # a whole web server's frame would cost as much as the fetch
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=_BACKLOG)
        return int(self._server.sockets[0].getsockname()[1])

    async def _stop(self) -> None:
        self._server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.clear_up()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the one request of a connection."""
        try:
            target = (await reader.readuntil(_HEAD_END)).split(b" ", 2)[1].decode()
            answer = await self._answer(target, writer.transport)
            self.num_answered += 1
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, IndexError, UnicodeError):
            pass  # no request, or a client that went away
        finally:
            writer.close()

    async def _answer(self, target: str, client: asyncio.WriteTransport) -> bytes:
        """Returns an answer with a picture, or 502 with the reason where there is none to be had."""
        uid = target.removeprefix(f"http://{HOST}/")
        if uid == target or uid not in self._urls:
            return _response("403 Forbidden")  # this proxy knows only the uids of its list
        self._num_open += 1
        try:
            if uid not in self._store:
                await _patiently(self._fetching(uid), client)
            reason = self._store.known(uid).reason
            if reason is not None:
                return _response("502 Bad Gateway", f"{REASON_HEADER}: {reason}\r\n")
            return _response("200 OK", body=self._store.body(uid))
        except (OSError, ValueError) as error:  # the store's; what the web does is in the record
            self._error = self._error or error
            return _response("500 Internal Server Error")
        finally:
            self._num_open -= 1
            self._last_open = time.monotonic()

    def _fetching(self, uid: str) -> asyncio.Task[FetchRecord]:
        """Returns the task that gets the uid's record; there is never more than one."""
        if uid not in self._pending:
            self._pending[uid] = asyncio.ensure_future(self._fetch(uid))
            self._pending[uid].add_done_callback(lambda task: self._fetched(uid, task))
        return self._pending[uid]

    def _fetched(self, uid: str, task: asyncio.Task[FetchRecord]) -> None:
        self._pending.pop(uid, None)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._error = self._error or error

    async def _fetch(self, uid: str) -> FetchRecord:
        """Puts the uid's record: of the same URL under another caption where there is one, or else of a fetch."""
        url = self._urls[uid]
        while url in self._by_url:
            await asyncio.wait({self._by_url[url]})
        known = self._store.same_url(url)
        if known is not None:
            return self._store.put(dataclasses.replace(known, uid=uid), None)
        self._by_url[url] = self._pending[uid]
        try:
            self.num_fetched += 1
            record, body = await rounds.fetch(self._web, uid, url, self._consent.permit)
            return self._store.put(record, body)
        finally:
            self._by_url.pop(url, None)

    async def _work_ahead(self, uids: Iterable[str]) -> None:
        window = asyncio.Semaphore(_WINDOW)
        try:
            for uid in uids:
                if uid in self._store or uid in self._pending:
                    await asyncio.sleep(0)  # there may be millions of them
                    continue
                await window.acquire()
                if self._error is not None:
                    return
                self._fetching(uid).add_done_callback(lambda _: window.release())
        except (OSError, ValueError) as error:  # of where the uids come from
            self._error = self._error or error


async def _patiently(task: asyncio.Task[FetchRecord], client: asyncio.WriteTransport) -> None:
    """Waits for the task, and keeps the client waiting; raises what the task raises."""
    while not task.done():
        await asyncio.wait({task}, timeout=HEARTBEAT_S)
        if not task.done() and not client.is_closing():
            client.write(_INTERIM)
    task.result()


def _response(status: str, headers: str = "", *, body: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    return head.encode() + body
