"""Everything the web may answer, through the gateway: the right reason, in bounded time, and nobody inside reached."""

import io
import itertools
import socket
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineage import reasons
from pipelines.web.addresses import AddressPolicy, parse_networks
from pipelines.web.fetch import FetchLimits, bound_s
from pipelines.web.fetch_record import FetchRecord
from pipelines.web.gateway import Gateway
from pipelines.web.store import FetchStore
from tests.pipelines.fault_pages import ANSWERS, PICTURE, limits, redirect
from tests.pipelines.fault_server import FaultServer, answer, picture, self_signed, then
from tests.pipelines.web.test_gateway import AGENT

LIMITS = limits(deadline_s=0.6, num_attempts=2, max_wait_s=1.0)
SITE = "http://a.demo.test"


def vast(side: int) -> bytes:
    """Returns a PNG that declares a square of so many pixels a side and has hardly any data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    made = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    made.seek(0, io.SEEK_END)
    made.write(chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)))
    made.write(chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    return made.getvalue()


def fetched(
    urls: Mapping[str, str],
    root: Path,
    *,
    sites: Mapping[str, int],
    allowed: tuple[str, ...] = (),
    bounds: FetchLimits = LIMITS,
) -> dict[str, FetchRecord]:
    """Has the gateway fetch all URLs at once and returns {name: record}."""
    store = FetchStore(root, "s1")
    with Gateway(
        urls,
        store,
        policy=AddressPolicy(allowed=parse_networks(allowed)),
        limits=bounds,
        user_agent=AGENT,
        sites=sites,
        num_connections=16,
    ) as gateway:
        gateway.work_ahead(urls)
        ends = time.monotonic() + bound_s(bounds)
        while len(store) < len(urls):
            gateway.raise_error()
            assert time.monotonic() < ends, [name for name in urls if name not in store]
            time.sleep(0.01)
    store.close()
    return {name: store[name] for name in urls}


PAGES = {
    "/500-then": then(answer(b"broken", 500), answer(PICTURE)),
    "/slow": answer(PICTURE, delay_s=0.2),
    "/too-slow": answer(PICTURE, delay_s=30.0),
    "/60000": answer(vast(60_000)),
    "/bomb": answer(vast(8_000)),
    "/noai-mybot": answer(PICTURE, headers={"X-Robots-Tag": "mybot: noai"}),
    "/a%20b": answer(PICTURE),
    "/429-long": answer(b"", 429, {"Retry-After": "3600"}),
    "/503-long": answer(b"", 503, {"Retry-After": "3600"}),
    "/429-short": then(answer(b"", 429, {"Retry-After": "1"}), answer(PICTURE)),
}
OUTCOMES = {
    f"{SITE}/no-such-page": "http_404",
    f"{SITE}/500": "server_error",
    f"{SITE}/500-then": None,
    f"{SITE}/slow": None,
    f"{SITE}/too-slow": "timeout",
    f"{SITE}/short": "incomplete_body",
    f"{SITE}/half": None,
    f"{SITE}/html": "not_an_image",
    f"{SITE}/empty": "empty_body",
    f"{SITE}/good": None,
    f"{SITE}/hop": None,
    f"{SITE}/loop": "too_many_redirects",
    f"{SITE}/noai": "opt_out",
    f"{SITE}/noai-mybot": None,
    f"{SITE}/noai-ours": "opt_out",
    f"{SITE}/60000": None,
    f"{SITE}/bomb": None,
    f"{SITE}/drip": "timeout",
    f"{SITE}/endless": "too_large",
    f"{SITE}/gzip-bomb": "too_large",
    f"{SITE}/to-private": "address_not_allowed",
    f"{SITE}/to-file": "scheme_not_allowed",
    f"{SITE}/to-ftp": "scheme_not_allowed",
    "http://gone.demo.test/x": "dns",
    "http://refuses.demo.test/x": "refused",
    "http://429.demo.test/429": "too_many_requests",
    "http://429-long.demo.test/429-long": "too_many_requests",
    "http://429-short.demo.test/429-short": None,
    "http://503-long.demo.test/503-long": "server_error",
    f"{SITE}/a b": None,
    "not a url": "scheme_not_allowed",
    "": "scheme_not_allowed",
    "file:///etc/passwd": "scheme_not_allowed",
    "ftp://a.demo.test/x.png": "scheme_not_allowed",
    "http://8.8.8.8/x.png": "address_not_allowed",
    "http://134744072/x.png": "address_not_allowed",
}


def test_every_answer_ends_in_its_reason_in_bounded_time(tmp_path: Path) -> None:
    hosts = ["a", "429", "429-long", "429-short", "503-long"]
    with FaultServer(ANSWERS | PAGES) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        sites = {f"{host}.demo.test": server.port for host in hosts}
        sites["refuses.demo.test"] = closed.getsockname()[1]
        started = time.monotonic()
        found = fetched({url: url for url in OUTCOMES}, tmp_path, sites=sites)
        assert time.monotonic() - started < 8.0
    assert {url: record.reason for url, record in found.items()} == OUTCOMES
    assert all(record.reason in reasons.DOWNLOAD for record in found.values() if record.reason)
    assert found["http://429-long.demo.test/429-long"].num_attempts == 1
    assert found["http://429.demo.test/429"].num_attempts == 2


@contextmanager
def canary(host: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    """A port that nobody may so much as connect to."""
    with socket.socket() as listening:
        listening.bind((host, port))
        listening.listen()
        listening.setblocking(False)
        yield listening
        with pytest.raises(BlockingIOError):
            listening.accept()


INSIDE = [
    "127.0.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.1",
    "0.0.0.0",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "localhost",
    "LOCALHOST.",
    "127。0。0。1",
    "me:secret@127.0.0.1",
    "127.0.0.1%00.demo.test",
]


def test_nothing_leads_inside(tmp_path: Path) -> None:
    with canary() as inside, FaultServer({}) as server:
        port = inside.getsockname()[1]
        urls = {f"straight {host}": f"http://{host}:{port}/x.png" for host in INSIDE}
        for number, host in enumerate(INSIDE):
            location = f"http://{host}:{port}/x.png".encode().decode("latin-1")
            server.answers[f"/{number}"] = redirect(location)
            urls[f"redirect {host}"] = f"{SITE}/{number}"
        found = fetched(urls, tmp_path, sites={"a.demo.test": server.port})
    assert {record.reason for record in found.values()} <= {"address_not_allowed", "scheme_not_allowed", "dns"}
    assert found["straight 127.0.0.1"].reason == found["redirect 127.0.0.1"].reason == "address_not_allowed"


def test_a_sites_own_word_is_not_looked_for_inside(tmp_path: Path) -> None:
    with canary() as inside, FaultServer({"/x.png": answer(PICTURE)}) as server:
        port = inside.getsockname()[1]
        server.answers["/robots.txt"] = redirect(f"http://127.0.0.1:{port}/robots.txt")
        server.answers["/.well-known/tdmrep.json"] = redirect(f"http://localhost:{port}/")
        found = fetched({"x": f"{SITE}/x.png"}, tmp_path, sites={"a.demo.test": server.port})
    assert found["x"].reason == "address_not_allowed"


def test_a_name_that_changes_its_address_after_the_check_is_connected_to_where_it_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other look-up leads inside: whoever looked a name up twice for one connection would get there."""
    asked = itertools.count()
    with FaultServer({f"/{n}": answer(picture(n)) for n in range(9)}, host="127.0.0.2") as server:

        def rebinding(host: str, port: int, *_: object, **__: object) -> list[tuple]:
            assert host == "rebinding.example.com"
            leads_to = "127.0.0.1" if next(asked) % 2 else "127.0.0.2"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (leads_to, port))]

        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        with canary(port=server.port):
            urls = {str(n): f"http://rebinding.example.com:{server.port}/{n}" for n in range(9)}
            found = fetched(urls, tmp_path, sites={}, allowed=("127.0.0.2",))
        assert {record.reason for record in found.values()} == {None, "address_not_allowed"}
        # half of the look-ups led to the server, and every one of those to one request
        assert len(server.heads) == (next(asked) + 1) // 2
        assert sum(record.outcome == "ok" for record in found.values()) == sum(server.hits[f"/{n}"] for n in range(9))


def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with FaultServer({"/x.png": answer(PICTURE)}, tls=self_signed(tmp_path)) as server:
        found = fetched({"x": "https://a.demo.test/x.png"}, tmp_path, sites={"a.demo.test": server.port})
        assert not server.heads
    assert found["x"].reason == "tls"
