"""A URL list over the web: one file, however large, saved as it comes, under the gateway's checks of addresses."""

import asyncio
from pathlib import Path, PurePosixPath

import aiohttp
from yarl import URL

from lineage import files
from pipelines.web.addresses import AddressNotAllowedError, AddressPolicy, CheckedResolver

_MAX_REDIRECTS = 5
_CHUNK_BYTES = 1 << 20
_SILENCE_S = 60.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class PassingError(Exception):
    """A failure that may have passed when the list is asked for again."""


def save(url: str, folder: Path, *, policy: AddressPolicy, user_agent: str, max_bytes: int, deadline_s: float) -> Path:
    """Saves what a URL leads to under the last part of its path, and returns the file.

    Args:
        folder: where the file goes; it is there when it is whole, and not before.
        policy: what may be connected to, at every hop.
        max_bytes: of the file.
        deadline_s: s for everything, redirects included.

    Raises:
        PassingError: for a time-out, a broken connection, 429 or a server's own error.
        ValueError: where asking again changes nothing: another status, a refused address, too large a file.
    """
    name, shown = PurePosixPath(URL(url).path).name, shown_url(url)
    if not name:
        raise ValueError(f"{shown}: the path of a list's URL must end in a file's name")
    partial = folder / f".{name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(_saved(url, partial, policy, user_agent, max_bytes, deadline_s))
        return partial.rename(folder / name)
    except TimeoutError:
        raise PassingError(f"{shown}: no complete answer within {deadline_s:g} s") from None
    except AddressNotAllowedError as error:
        raise ValueError(f"{shown}: {error}") from None
    except (aiohttp.InvalidURL, aiohttp.ClientSSLError) as error:
        raise ValueError(f"{shown}: {error}") from None
    except (aiohttp.ClientError, ConnectionError) as error:
        raise PassingError(f"{shown}: {type(error).__name__}: {error}") from None
    finally:
        files.remove(partial)


async def _saved(
    text: str, path: Path, policy: AddressPolicy, user_agent: str, max_bytes: int, deadline_s: float
) -> None:
    connector = aiohttp.TCPConnector(resolver=CheckedResolver(policy, {}), use_dns_cache=False)
    silence = aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_S)
    # the environment's own proxy settings must not lead around the checks
    async with (
        asyncio.timeout(deadline_s),
        aiohttp.ClientSession(
            connector=connector, headers={"User-Agent": user_agent}, timeout=silence, trust_env=False
        ) as session,
    ):
        url = URL(text)
        for _ in range(_MAX_REDIRECTS + 1):
            _check(url, policy)
            async with session.get(url, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status in (301, 302, 303, 307, 308) and location:
                    url = url.join(URL(location))
                    continue
                _check_status(text, response.status)
                await _write(response, path, max_bytes)
                return
    raise ValueError(f"{shown_url(text)}: more than {_MAX_REDIRECTS} redirects")


def shown_url(url: str) -> str:
    """Returns a URL without user, password and query: what may be a secret."""
    parsed = URL(url)
    return str(parsed.with_user(None).with_query(None)) if parsed.raw_host else url.partition("?")[0]


def _check(url: URL, policy: AddressPolicy) -> None:
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise ValueError(f"{shown_url(str(url))}: leads to something else than http or https")
    policy.check_host(url.raw_host)
    policy.check_port(url.port)


def _check_status(text: str, status: int) -> None:
    if status in _PASSING:
        raise PassingError(f"{shown_url(text)}: HTTP {status}")
    if status != 200:
        raise ValueError(f"{shown_url(text)}: HTTP {status}")


async def _write(response: aiohttp.ClientResponse, path: Path, max_bytes: int) -> None:
    num_bytes = 0
    with path.open("wb") as file:
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            num_bytes += len(chunk)
            if num_bytes > max_bytes:
                raise ValueError(f"{shown_url(str(response.url))}: more than {max_bytes} bytes")
            file.write(chunk)
