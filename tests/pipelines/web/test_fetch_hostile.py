"""Hostile and unclear answers: whom a directive binds, and that nothing a server sends makes the fetch raise."""

import email.utils
import socket
import time
from collections.abc import Iterator

import pytest

from pipelines.web.fetch import retry_after_s
from pipelines.web.robots import opt_outs
from tests.pipelines.fault_pages import ANSWERS, HOST, limits
from tests.pipelines.fault_server import FaultServer, head, raw
from tests.pipelines.web.test_fetch import run


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer(ANSWERS) as running:
        yield running


@pytest.mark.parametrize(
    ("values", "bound"),
    [
        ([], []),
        (["all"], []),
        (["nofollow, noarchive"], []),
        (["noai, noimageai"], ["noai", "noimageai"]),
        (["NOINDEX"], ["noindex"]),
        (["none"], ["none"]),
        (["otherbot: noai"], []),
        (["otherbot: nofollow, noai"], []),
        (["otherbot: nofollow", "noai"], ["noai"]),
        (["Clipline: noai"], ["noai"]),
        (["clipline:nofollow,noimageindex"], ["noimageindex"]),
        (["otherbot: noindex, clipline: noai"], ["noai"]),
        (["clipline: nofollow, otherbot: noai"], []),
        (["noai, otherbot: noindex"], ["noai"]),
        (["*: noai"], ["noai"]),
        (["max-snippet: 20, noai"], ["noai"]),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noai"], ["noai"]),
        (["unavailable_after: Tuesday, 25-Jun-30 15:00:00 UTC, noai"], ["noai"]),
        (["", ",", ":", "noai-not", ": noai"], ["noai"]),
    ],
)
def test_a_directive_binds_all_agents_or_the_one_it_names(values: list[str], bound: list[str]) -> None:
    assert opt_outs(values, "Clipline") == bound


@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 100,
        b"HTTP/1.1 200 OK\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe://\xff\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://xn--a/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://a%00b.demo.test/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127%2e0.0.1/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://.../\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://u:p@gone.test:0/\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        head(200, {"X-Robots-Tag": "\xff"}, 0),
        head(200, {"Content-Type": "\xff/\xff; charset=\xff"}, 0),
    ],
    ids=range(18),
)
def test_no_answer_makes_it_raise(content: bytes) -> None:
    with FaultServer({"/": raw(content)}) as server:
        bounds = limits(deadline_s=1.0, max_bytes=1000, max_redirects=1, num_attempts=1, backoff_s=0.0)
        record, _ = run(f"http://{HOST}/", server, bounds=bounds)
    assert record.outcome == "failed"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{port}/good", "address_not_allowed"),
        ("http://[::ffff:127.0.0.1]:{port}/good", "address_not_allowed"),
        ("http://2130706433:{port}/good", "address_not_allowed"),
        ("http://0x7f.1:{port}/good", "address_not_allowed"),
        ("http://0177.0.0.1:{port}/good", "address_not_allowed"),
        ("http://127.1:{port}/good", "address_not_allowed"),
        ("http://127。0。0。1:{port}/good", "address_not_allowed"),
        ("http://１２７.0.0.1:{port}/good", "address_not_allowed"),
        ("http://me:secret@127.0.0.1:{port}/good", "address_not_allowed"),
        ("http://a.demo.test:6667/", "address_not_allowed"),
        ("http://localhost:{port}/good", "address_not_allowed"),
        ("http://LOCALHOST:{port}/good", "address_not_allowed"),
        ("http://8.8.8.8/", "address_not_allowed"),
        ("http://unknown.demo.test/", "dns"),
        ("http://" + "a" * 64 + ".example.com/", "dns"),
        ("file:///etc/passwd", "scheme_not_allowed"),
        ("ftp://a.demo.test/x", "scheme_not_allowed"),
        ("gopher://a.demo.test/x", "scheme_not_allowed"),
        ("http:///x", "scheme_not_allowed"),
        ("/etc/passwd", "scheme_not_allowed"),
        ("http://[::1", "scheme_not_allowed"),
        ("http://a.demo.test:port/", "scheme_not_allowed"),
        ("", "scheme_not_allowed"),
    ],
)
def test_a_url_that_leads_astray_reaches_nobody(url: str, reason: str, server: FaultServer) -> None:
    before = len(server.heads)
    record, _ = run(url.format(port=server.port), server)
    assert (record.reason, record.status, record.num_attempts) == (reason, None, 1), record.message
    assert len(server.heads) == before


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", 0), ("120", 120), (" 7 ", 7), ("9" * 400, 1e9), ("-1", None), ("1.5", None), ("", None), ("soon", None)],
)
def test_a_retry_after_in_seconds(value: str, expected: float | None) -> None:
    assert retry_after_s(value) == expected


def test_a_retry_after_as_a_date() -> None:
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)
    assert 58 < (retry_after_s(in_a_minute) or 0) <= 60
    assert retry_after_s("Sun, 06 Nov 1994 08:49:37 GMT") == 0
    assert retry_after_s("Sunday, 06-Nov-94 08:49:37 GMT") == 0
    assert retry_after_s("Fri, 31 Dec 9999 23:59:59 GMT") == 1e9


@pytest.mark.parametrize(("error", "attempts"), [(socket.EAI_AGAIN, 3), (socket.EAI_NONAME, 1)])
def test_a_name_that_does_not_resolve_for_now_is_asked_again_and_one_that_does_not_exist_is_not(
    error: int, attempts: int, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unresolved(*_: object, **__: object) -> None:
        raise socket.gaierror(error, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    record, _ = run("http://nowhere.example.com/", server)
    assert (record.reason, record.num_attempts) == ("dns", attempts)
