"""The gateway between img2dataset and the web, in its first form.

img2dataset is given `http://gateway.invalid/UID` and this server as its http_proxy, so it never resolves, follows or
trusts anything itself. The gateway looks the uid's URL up, answers from the store where it has a record, fetches it
once where it has none, and stores what came before it answers.
"""

import asyncio
from collections.abc import Mapping

import aiohttp
from aiohttp import web

from pipelines.addresses import AddressPolicy, CheckedResolver
from pipelines.fetch import FetchLimits, fetch
from pipelines.loopback import LoopbackServer
from pipelines.store import FetchRecord, FetchStore

HOST = "gateway.invalid"
REASON_HEADER = "X-Clipline-Reason"


class Gateway(LoopbackServer):
    """A proxy on an ephemeral loopback port, running in a thread of its own while the context is open."""

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
        self._pending: dict[str, asyncio.Task[FetchRecord]] = {}
        self.num_fetched = 0
        """How many URLs went to the web, not to the store."""
        self._error: Exception | None = None

    @property
    def url(self) -> str:
        """The proxy's address."""
        return f"http://127.0.0.1:{self.port}"

    def raise_error(self) -> None:
        """Does nothing while the store is in order.

        Raises:
            ValueError: if a stored body is damaged.
            OSError: if the store cannot be written.
        """
        if self._error is not None:
            raise self._error

    async def set_up(self) -> None:
        """Opens the client session that fetches."""
        resolver = CheckedResolver(self._policy, self._sites)
        connector = aiohttp.TCPConnector(limit=self._num_connections, resolver=resolver, use_dns_cache=False)
        headers = {"User-Agent": self._user_agent, "Accept": "image/*", "Accept-Encoding": "identity"}
        # the environment's own proxy settings must not lead around the checks; the deadline is asyncio's
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=headers,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def clear_up(self) -> None:
        """Closes the client session."""
        await self._session.close()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Returns a picture, or 502 with the reason where there is none to be had."""
        uid = request.path.removeprefix("/")
        if request.headers.get("Host", "").split(":")[0] != HOST or uid not in self._urls:
            return web.Response(status=403, text="this proxy knows only the uids of its list")
        try:
            record = await self._record(uid)
            if record.outcome != "ok":
                return web.Response(status=502, headers={REASON_HEADER: record.reason or ""})
            return web.Response(body=self._store.body(uid), content_type="application/octet-stream")
        except (OSError, ValueError) as error:  # the store's; what the web does is in the record
            self._error = self._error or error
            return web.Response(status=500, text="the store failed")

    async def _record(self, uid: str) -> FetchRecord:
        """Returns the uid's record; two requests for the same uid share one fetch."""
        if uid in self._store:
            return self._store[uid]
        if uid not in self._pending:
            self._pending[uid] = asyncio.ensure_future(self._fetch(uid))
            self._pending[uid].add_done_callback(lambda _: self._pending.pop(uid, None))
        return await asyncio.shield(self._pending[uid])

    async def _fetch(self, uid: str) -> FetchRecord:
        self.num_fetched += 1
        record, body = await fetch(self._session, uid, self._urls[uid], policy=self._policy, limits=self._limits)
        return self._store.put(record, body)
