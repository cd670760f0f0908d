"""One URL over the web, asked once: every hop checked and in its turn, everything bounded, every outcome one reason."""

import asyncio
import dataclasses
import datetime
import email.utils
import socket
import ssl
import time
from collections.abc import Awaitable, Callable

import aiohttp
from yarl import URL

from pipelines.pictures import sniff
from pipelines.web import robots
from pipelines.web.addresses import AddressNotAllowedError, AddressPolicy
from pipelines.web.politeness import HostClosedError, Politeness

Permit = Callable[[URL, list[str]], Awaitable[None]]
"""Raises FetchFailedError where a site does not let us ask for a URL; adds the ids of the evidence to the list."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEPT_HEADERS = (
    *("content-type", "etag", "last-modified", "x-robots-tag", "tdm-reservation", "tdm-policy"),
    *("content-language", "retry-after"),
)
_PASSING = frozenset({"timeout", "refused", "server_error", "incomplete_body", "too_many_requests"})
"""Reasons that may pass: worth another attempt."""
_CHUNK_BYTES = 1 << 16
_LEAST_HOPS = 5
"""Redirects of a robots.txt that are followed at least (RFC 9309 2.3.1.2)."""
_LONGEST_S = 1e9
"""What a longer Retry-After counts as."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FetchLimits:
    """Bounds of one fetch."""

    deadline_s: float
    """Total time of one attempt, redirects and body included; a dripping server cannot stretch it."""
    max_bytes: int
    max_redirects: int
    num_attempts: int
    """Attempts where the reason may pass; one for final reasons."""
    backoff_s: float
    """Wait before the second attempt; doubles with each further one."""
    max_wait_s: float
    """Longest wait between two attempts; a server that asks for a longer one is not asked again."""
    host_connections: int
    """Fetches at once to one host."""
    host_delay_s: float
    """Least time between the starts of two fetches to one host."""
    consent_ttl_s: float
    """How long what a site says in robots.txt and tdmrep.json counts."""
    respect_robots: bool
    """Whether robots.txt is asked for and heeded."""


def bound_s(limits: FetchLimits) -> float:
    """Returns the longest time one URL can take, s, the waits for a host's turn left out.

    Every hop of every attempt may lead to another site, whose two files are asked for first, with as many attempts.
    """
    rounds = limits.num_attempts * limits.deadline_s + (limits.num_attempts - 1) * limits.max_wait_s
    return rounds * (1 + 2 * limits.num_attempts * (limits.max_redirects + 1))


class FetchFailedError(Exception):
    """An attempt that ended with a reason."""

    def __init__(
        self, reason: str, message: str, *, passing: bool | None = None, retry_after_s: float | None = None
    ) -> None:
        """Takes one of lineage.reasons.DOWNLOAD, and whether another attempt may end otherwise (by default: by it)."""
        super().__init__(message)
        self.reason, self.message = reason, message
        self.passing = reason in _PASSING if passing is None else passing
        self.retry_after_s = retry_after_s


@dataclasses.dataclass(kw_only=True)
class Answer:
    """What came of one attempt."""

    final_url: str
    at: str
    """When it began, ISO 8601."""
    status: int | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    """Spent on the web; waits for turns are left out."""
    consent: list[str] = dataclasses.field(default_factory=list)
    failure: FetchFailedError | None = None


class Web:
    """The web as it may be asked: through one client session, one policy, everybody's turn kept."""

    def __init__(
        self, session: aiohttp.ClientSession, *, policy: AddressPolicy, limits: FetchLimits, hosts: Politeness
    ) -> None:
        """Takes a session without a time-out or a connection limit of its own, whose resolver checks addresses."""
        self._session, self._policy, self.limits, self._hosts = session, policy, limits, hosts
        self.agent = session.headers.get("User-Agent", "").partition("/")[0]
        """Our product token, which sites may address."""

    async def ask(self, url: str, permit: Permit | None) -> Answer:
        """Returns what came of asking once. Raises nothing that a server can cause.

        Args:
            permit: says whether a picture may be asked for, at every hop. None for a site's own word on that: it may
                be any text, and what is beyond robots.MAX_BYTES of it is left off.
        """
        answer = Answer(final_url=url, at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
        try:
            await self._follow(answer, permit)
        except FetchFailedError as failure:
            answer.failure = failure
        except HostClosedError as closed:
            answer.failure = FetchFailedError(closed.reason, closed.message, passing=False)
        except AddressNotAllowedError as error:
            answer.failure = FetchFailedError("address_not_allowed", str(error))
        except TimeoutError:
            message = f"no complete answer within {self.limits.deadline_s} s"
            answer.failure = FetchFailedError("timeout", message)
        except aiohttp.ClientConnectorDNSError as error:
            again = error.os_error.errno == socket.EAI_AGAIN
            answer.failure = FetchFailedError("dns", str(error), passing=again)
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            answer.failure = FetchFailedError("tls", str(error))
        except aiohttp.InvalidURL as error:
            answer.failure = FetchFailedError("scheme_not_allowed", f"not a URL: {error}")
        except aiohttp.ClientPayloadError as error:
            answer.failure = FetchFailedError("incomplete_body", str(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            answer.failure = FetchFailedError("refused", f"{type(error).__name__}: {error}")
        return answer

    async def _follow(self, answer: Answer, permit: Permit | None) -> None:
        """Fetches `answer.final_url`, following redirects hop by hop, each checked like the first."""
        num_hops = max(self.limits.max_redirects, 0 if permit else _LEAST_HOPS)
        for _ in range(num_hops + 1):
            url = _parse(answer.final_url)
            if url.raw_user is not None or url.raw_password is not None:  # we have no account anywhere
                url = url.with_user(None)
                answer.final_url = str(url)
            self._policy.check_host(url.raw_host or "")
            self._policy.check_port(url.port)
            if permit:
                await permit(url, answer.consent)
            async with self._hosts.turn(url.raw_host or ""):
                started = time.monotonic()
                try:
                    async with asyncio.timeout(self.limits.deadline_s - answer.seconds):
                        leads_to = await self._hop(url, answer, is_picture=permit is not None)
                finally:
                    answer.seconds += time.monotonic() - started
            if leads_to is None:
                return
            answer.final_url = str(leads_to)
        raise FetchFailedError("too_many_redirects", f"more than {num_hops} redirects")

    async def _hop(self, url: URL, answer: Answer, *, is_picture: bool) -> URL | None:
        """Asks for one URL; returns where it leads to, or None with the body in `answer`."""
        accept = {} if is_picture else {"Accept": "*/*"}
        async with self._session.get(url, allow_redirects=False, headers=accept) as response:
            answer.status = response.status
            answer.headers = _headers(response)
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                return _parse(location, base=url)
            self._check_status(response, url.raw_host or "")
            if is_picture:
                self._check_opt_out(response)
                answer.body = await _read(response, self.limits.max_bytes)
                _check_body(answer.body)
            else:
                answer.body = await _read(response, robots.MAX_BYTES, cut=True)
        return None

    def _check_status(self, response: aiohttp.ClientResponse, host: str) -> None:
        status = response.status
        wait = retry_after_s(response.headers.get("Retry-After", ""))
        words = {404: "http_404", 410: "http_410", 429: "too_many_requests"}
        reason = words.get(status, "server_error" if status >= 500 else "http_error")
        message = f"HTTP {status}" + (f", Retry-After {wait:.0f} s" if wait is not None else "")
        if status == 429 or (status == 503 and wait is not None):  # it speaks for the whole host
            self._hosts.slow_down(host, wait, reason=reason, message=message)
        else:
            self._hosts.speed_up(host)
        if status != 200:
            passing = True if status == 408 else None
            raise FetchFailedError(reason, message, passing=passing, retry_after_s=wait)

    def _check_opt_out(self, response: aiohttp.ClientResponse) -> None:
        """Raises where the answer's headers say that the picture is not for learning from."""
        found = robots.opt_outs(response.headers.getall("X-Robots-Tag", []), self.agent)
        if found:
            raise FetchFailedError("opt_out", f"X-Robots-Tag: {', '.join(found)}")
        if response.headers.get("TDM-Reservation", "").strip() == "1":
            raise FetchFailedError("opt_out", "TDM-Reservation: 1")


def retry_after_s(value: str) -> float | None:
    """Returns a Retry-After header in s from now, never below 0; None where it is neither a number nor a date."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_S)
    try:
        date = email.utils.parsedate_to_datetime(value)
        wait = (date if date.tzinfo else date.replace(tzinfo=datetime.UTC)).timestamp() - time.time()
    except (ValueError, OverflowError, OSError):
        return None
    return min(max(wait, 0.0), _LONGEST_S)


def _parse(text: str, *, base: URL | None = None) -> URL:
    """Returns the URL as the client will read it, so that what is checked is what is asked for."""
    try:
        url = base.join(URL(text)) if base else URL(text)
    except ValueError as error:
        raise FetchFailedError("scheme_not_allowed", f"leads to {text[:200]!r}: {error}") from None
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise FetchFailedError("scheme_not_allowed", f"leads to {text[:200]!r}")
    return url


async def _read(response: aiohttp.ClientResponse, max_bytes: int, *, cut: bool = False) -> bytes:
    """Returns the body; what is beyond `max_bytes` is cut off or makes it fail."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            if cut:
                return bytes(body[:max_bytes])
            raise FetchFailedError("too_large", f"more than {max_bytes} bytes")
    return bytes(body)


def _check_body(body: bytes) -> None:
    if not body:
        raise FetchFailedError("empty_body", "no bytes")
    if sniff(body) is None:
        raise FetchFailedError("not_an_image", f"begins with {body[:16]!r}")


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    found = {name: storable(", ".join(response.headers.getall(name, []))) for name in _KEPT_HEADERS}
    return {name: value for name, value in found.items() if value}


def storable(received: str) -> str:
    """Returns text that can be written as UTF-8: what servers send may hold bytes that are none."""
    return received.encode("utf-8", "replace").decode()
