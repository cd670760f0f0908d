"""Hostile and unclear answers: whom a directive binds, and that nothing a server sends makes the fetch raise."""

import pytest

from pipelines.fetch import FetchLimits, opt_outs
from tests.pipelines.fault_pages import HOST
from tests.pipelines.fault_server import FaultServer, head, raw
from tests.pipelines.test_fetch import run


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
        limits = FetchLimits(deadline_s=1.0, max_bytes=1000, max_redirects=1, num_attempts=1, backoff_s=0.0)
        record, _ = run(f"http://{HOST}/", server, limits=limits)
    assert record.outcome == "failed"
