"""One URL over the web: every hop checked, everything bounded, every outcome one reason."""

import asyncio
import dataclasses
import datetime
import re
import ssl
import time
from collections.abc import Sequence

import aiohttp
from yarl import URL

from lineage import digests
from pipelines.addresses import AddressNotAllowedError, AddressPolicy
from pipelines.pictures import sniff
from pipelines.store import FetchRecord

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEPT_HEADERS = ("content-type", "etag", "last-modified", "x-robots-tag", "tdm-reservation", "content-language")
_OPT_OUTS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
"""Directives of X-Robots-Tag that are written as an agent's name is: before a colon."""
_AGENT = re.compile(r"[a-z0-9_*.-]+")
_PASSING = frozenset({"timeout", "refused", "server_error", "incomplete_body"})
"""Reasons that may pass: worth another attempt."""
_CHUNK_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True, kw_only=True)
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


class _FetchFailedError(Exception):
    """An attempt that ended with a reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message


@dataclasses.dataclass(kw_only=True)
class _Answer:
    """What is known of an attempt so far."""

    final_url: str
    status: int | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""


async def fetch(
    session: aiohttp.ClientSession, uid: str, url: str, *, policy: AddressPolicy, limits: FetchLimits
) -> tuple[FetchRecord, bytes | None]:
    """Returns the record of a URL and, where it is ok, its body. Raises nothing that a server can cause.

    Args:
        session: without a time-out of its own; its resolver checks addresses, its User-Agent is who opt-outs may name.
    """
    started, at = time.monotonic(), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    attempt = 0
    while True:
        attempt += 1
        answer = _Answer(final_url=url)
        failure = await _attempt(session, answer, policy=policy, limits=limits)
        if failure is None or failure.reason not in _PASSING or attempt >= limits.num_attempts:
            break
        await asyncio.sleep(limits.backoff_s * 2 ** (attempt - 1))
    record = FetchRecord(
        uid=uid,
        url=url,
        outcome="failed" if failure else "ok",
        reason=failure.reason if failure else None,
        message=_text(failure.message) if failure else "",
        status=answer.status,
        final_url=answer.final_url,
        headers=answer.headers,
        sha256=None if failure else digests.sha256_bytes(answer.body),
        bytes=None if failure else len(answer.body),
        num_attempts=attempt,
        seconds=round(time.monotonic() - started, 3),
        fetched_at=at,
    )
    return record, None if failure else answer.body


async def _attempt(
    session: aiohttp.ClientSession, answer: _Answer, *, policy: AddressPolicy, limits: FetchLimits
) -> _FetchFailedError | None:
    """Fills `answer` and returns how the attempt failed, or None."""
    try:
        async with asyncio.timeout(limits.deadline_s):
            await _follow(session, answer, policy=policy, limits=limits)
    except _FetchFailedError as failure:
        return failure
    except AddressNotAllowedError as error:
        return _FetchFailedError("address_not_allowed", str(error))
    except TimeoutError:
        return _FetchFailedError("timeout", f"no complete answer within {limits.deadline_s} s")
    except aiohttp.ClientConnectorDNSError as error:
        return _FetchFailedError("dns", str(error))
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        return _FetchFailedError("tls", str(error))
    except aiohttp.InvalidURL as error:
        return _FetchFailedError("scheme_not_allowed", f"not a URL: {error}")
    except aiohttp.ClientPayloadError as error:
        return _FetchFailedError("incomplete_body", str(error))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return _FetchFailedError("refused", f"{type(error).__name__}: {error}")
    return None


async def _follow(
    session: aiohttp.ClientSession, answer: _Answer, *, policy: AddressPolicy, limits: FetchLimits
) -> None:
    """Fetches `answer.final_url`, following redirects hop by hop, each checked like the first."""
    for _ in range(limits.max_redirects + 1):
        url = _parse(answer.final_url)
        policy.check_host(url.raw_host or "")
        async with session.get(url, allow_redirects=False) as response:
            answer.status = response.status
            answer.headers = _headers(response)
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                answer.final_url = str(_parse(location, base=url))
                continue
            _check_status(response.status)
            _check_opt_out(response, session.headers.get("User-Agent", ""))
            answer.body = await _read(response, limits.max_bytes)
            _check_body(answer.body)
            return
    raise _FetchFailedError("too_many_redirects", f"more than {limits.max_redirects} redirects")


def _parse(text: str, *, base: URL | None = None) -> URL:
    """Returns the URL as the client will read it, so that what is checked is what is asked for."""
    try:
        url = base.join(URL(text)) if base else URL(text)
    except ValueError as error:
        raise _FetchFailedError("scheme_not_allowed", f"leads to {text[:200]!r}: {error}") from None
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise _FetchFailedError("scheme_not_allowed", f"leads to {text[:200]!r}")
    return url


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            raise _FetchFailedError("too_large", f"more than {max_bytes} bytes")
    return bytes(body)


def _check_status(status: int) -> None:
    if status == 200:
        return
    reason = {404: "http_404", 410: "http_410"}.get(status, "server_error" if status >= 500 else "http_error")
    raise _FetchFailedError(reason, f"HTTP {status}")


def _check_opt_out(response: aiohttp.ClientResponse, user_agent: str) -> None:
    """Raises where the answer's headers say that the picture is not for learning from."""
    found = opt_outs(response.headers.getall("X-Robots-Tag", []), user_agent.partition("/")[0])
    if found:
        raise _FetchFailedError("opt_out", f"X-Robots-Tag: {', '.join(found)}")
    if response.headers.get("TDM-Reservation", "").strip() == "1":
        raise _FetchFailedError("opt_out", "TDM-Reservation: 1")


def opt_outs(values: Sequence[str], agent: str) -> list[str]:
    """Returns the directives against use for learning that bind `agent`, sorted.

    Args:
        values: of every X-Robots-Tag header, each `directive, ...` or `agent: directive, ...`. What stands after an
            agent's name, up to the end of that header or the next name, binds that agent alone; what stands before
            any, or after `*`, binds everyone.
        agent: the product token of our user agent, in any case.
    """
    found = set()
    for value in values:
        addressed = "*"
        for part in value.lower().split(","):
            name, colon, rest = (word.strip() for word in part.partition(":"))
            if name in _WITH_VALUE:
                continue
            if colon and _AGENT.fullmatch(name):
                addressed = name
            directive = rest if colon else name
            if directive in _OPT_OUTS and addressed in ("*", agent.lower()):
                found.add(directive)
    return sorted(found)


def _check_body(body: bytes) -> None:
    if not body:
        raise _FetchFailedError("empty_body", "no bytes")
    if sniff(body) is None:
        raise _FetchFailedError("not_an_image", f"begins with {body[:16]!r}")


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    found = {name: _text(", ".join(response.headers.getall(name, []))) for name in _KEPT_HEADERS}
    return {name: value for name, value in found.items() if value}


def _text(received: str) -> str:
    """Returns text that can be written as UTF-8: what servers send may hold bytes that are none."""
    return received.encode("utf-8", "replace").decode()
