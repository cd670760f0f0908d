import asyncio
import json
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from lineage import digests, reasons
from pipelines.web.addresses import AddressPolicy, CheckedResolver, parse_networks
from pipelines.web.fetch import FetchLimits, Web, bound_s
from pipelines.web.fetch_record import FetchRecord
from pipelines.web.politeness import Politeness
from pipelines.web.rounds import fetch
from tests.pipelines.fault_pages import ANSWERS, HOST, LIMITS, PICTURE, limits
from tests.pipelines.fault_server import FaultServer, answer, self_signed

AGENT = "Clipline/0.1 (+https://example.org/bot)"


async def anything(_: URL, __: list[str]) -> None:
    """Lets everything be asked for."""


def web(session: aiohttp.ClientSession, policy: AddressPolicy, bounds: FetchLimits) -> Web:
    """Returns the web as the gateway asks it."""
    hosts = Politeness(
        num_connections=8,
        host_connections=bounds.host_connections,
        host_delay_s=bounds.host_delay_s,
        backoff_s=bounds.backoff_s,
        max_wait_s=bounds.max_wait_s,
    )
    return Web(session, policy=policy, limits=bounds, hosts=hosts)


def run(
    url: str, server: FaultServer, *, bounds: FetchLimits = LIMITS, allowed: tuple[str, ...] = ()
) -> tuple[FetchRecord, bytes | None]:
    """Fetches with a session as the gateway's; HOST leads to the server."""
    policy = AddressPolicy(allowed=parse_networks(allowed))

    async def ask() -> tuple[FetchRecord, bytes | None]:
        connector = aiohttp.TCPConnector(resolver=CheckedResolver(policy, {HOST: server.port}), use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers={"User-Agent": AGENT}
        ) as session:
            return await fetch(web(session, policy, bounds), "u1", url, anything)

    record, body = asyncio.run(ask())
    assert (record.outcome == "ok") == (record.reason is None) == (body is not None)
    assert record.reason is None or record.reason in reasons.DOWNLOAD
    json.dumps(record.message + record.final_url + str(record.headers)).encode()
    (record.message + record.final_url + "".join(record.headers.values())).encode()  # must be storable
    assert len(record.attempts) == record.num_attempts
    assert record.attempts[-1]["reason"] == record.reason
    return record, body


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer(ANSWERS) as running:
        yield running


def test_a_good_answer_is_recorded_whole(server: FaultServer) -> None:
    record, body = run(f"http://{HOST}/good", server)
    assert body == PICTURE
    assert (record.uid, record.outcome, record.status, record.num_attempts) == ("u1", "ok", 200, 1)
    assert (record.sha256, record.bytes) == (digests.sha256_bytes(PICTURE), len(PICTURE))
    assert record.headers == {"content-type": "text/html", "etag": '"x"'}
    assert record.url == record.final_url == f"http://{HOST}/good"
    assert record.message == ""


@pytest.mark.parametrize(
    ("path", "reason", "status", "attempts"),
    [
        ("/no-such-page", "http_404", 404, 1),
        ("/410", "http_410", 410, 1),
        ("/403", "http_error", 403, 1),
        ("/418", "http_error", 418, 1),
        ("/204", "http_error", 204, 1),
        ("/no-location", "http_error", 302, 1),
        ("/500", "server_error", 500, 3),
        ("/501-x", "server_error", 501, 3),
        ("/408", "http_error", 408, 3),
        ("/429", "too_many_requests", 429, 3),
        ("/short", "incomplete_body", 200, 3),
        ("/short-chunk", "incomplete_body", 200, 3),
        ("/large", "too_large", 200, 1),
        ("/endless", "too_large", 200, 1),
        ("/empty", "empty_body", 200, 1),
        ("/html", "not_an_image", 200, 1),
        ("/svg", "not_an_image", 200, 1),
        ("/reset", "refused", None, 3),
        ("/no-http", "refused", None, 3),
        ("/nothing", "refused", None, 3),
        ("/noai", "opt_out", 200, 1),
        ("/noai-ours", "opt_out", 200, 1),
        ("/noai-second", "opt_out", 200, 1),
        ("/tdm", "opt_out", 200, 1),
        ("/noai-404", "http_404", 404, 1),
        ("/gzip-bomb", "too_large", 200, 1),
        ("/gzip-damaged", "incomplete_body", 200, 3),
        ("/loop", "too_many_redirects", 302, 1),
        ("/to-file", "scheme_not_allowed", 302, 1),
        ("/to-ftp", "scheme_not_allowed", 302, 1),
        ("/to-data", "scheme_not_allowed", 302, 1),
        ("/to-nonsense", "scheme_not_allowed", 302, 1),
        ("/to-bad-port", "scheme_not_allowed", 302, 1),
        ("/to-private", "address_not_allowed", 302, 1),
        ("/to-metadata", "address_not_allowed", 302, 1),
        ("/to-localhost", "address_not_allowed", 302, 1),
        ("/to-decimal", "address_not_allowed", 302, 1),
        ("/to-octal", "address_not_allowed", 302, 1),
        ("/to-hex", "address_not_allowed", 302, 1),
        ("/to-mail", "address_not_allowed", 302, 1),
        ("/to-crlf", "http_404", 404, 1),
        ("/crlf", "refused", None, 3),
        ("/to-wide", "address_not_allowed", 302, 1),
        ("/to-unknown", "dns", 302, 1),
        ("/to-bytes", "http_404", 404, 1),
    ],
)
def test_every_failure_has_its_reason_and_only_passing_ones_are_tried_again(
    path: str, reason: str, status: int | None, attempts: int, server: FaultServer
) -> None:
    before = server.hits[path]
    record, body = run(f"http://{HOST}{path}", server)
    assert (record.outcome, record.reason, record.status) == ("failed", reason, status), record.message
    assert record.num_attempts == attempts
    if reason != "too_many_redirects" and status is not None:  # aiohttp asks once more where no answer began
        assert server.hits[path] - before == attempts
    assert body is None
    assert record.message
    assert record.sha256 is None
    assert record.bytes is None


@pytest.mark.parametrize(
    ("path", "attempts"),
    [
        ("/503-then", 3),
        ("/short-then", 2),
        ("/429-then", 2),
        ("/to-account", 1),
        ("/largest", 1),
        ("/half", 1),  # measure finds out
        ("/no-length", 1),
        ("/gzip", 1),
        ("/noai-other", 1),
        ("/tdm-0", 1),
        ("/bad-header", 1),
        ("/hop", 1),
        ("/two-hops", 1),
    ],
)
def test_what_comes_in_the_end_is_ok(path: str, attempts: int, server: FaultServer) -> None:
    record, _ = run(f"http://{HOST}{path}", server)
    assert record.outcome == "ok", record.message
    assert (record.status, record.num_attempts) == (200, attempts)


def test_redirects_end_at_the_final_url_and_are_bounded(server: FaultServer) -> None:
    record, body = run(f"http://{HOST}/two-hops", server)
    assert record.final_url == f"http://{HOST}/good"
    assert body == PICTURE
    assert run(f"http://{HOST}/three-hops", server)[0].reason == "too_many_redirects"


def test_a_loop_costs_no_more_than_its_bound(server: FaultServer) -> None:
    before = server.hits["/loop"]
    run(f"http://{HOST}/loop", server)
    assert server.hits["/loop"] - before == LIMITS.max_redirects + 1


@pytest.mark.parametrize("path", ["/drip", "/slow"])
def test_a_server_cannot_stretch_the_deadline(path: str, server: FaultServer) -> None:
    bounds = limits(deadline_s=0.4, num_attempts=2, backoff_s=0.05)
    started = time.monotonic()
    record, _ = run(f"http://{HOST}{path}", server, bounds=bounds)
    assert (record.reason, record.num_attempts) == ("timeout", 2)
    assert 0.8 < time.monotonic() - started < 3.0


def test_a_time_out_may_pass(server: FaultServer) -> None:
    bounds = limits(deadline_s=0.4, num_attempts=2, backoff_s=0.0)
    record, body = run(f"http://{HOST}/drip-then", server, bounds=bounds)
    assert (record.outcome, record.num_attempts, body) == ("ok", 2, PICTURE)


def test_the_wait_between_attempts_doubles(server: FaultServer) -> None:
    bounds = limits(deadline_s=2.0, num_attempts=3, backoff_s=0.2)
    assert 0.6 <= run(f"http://{HOST}/500", server, bounds=bounds)[0].seconds < 2.0


def test_a_compressed_bomb_takes_no_memory(server: FaultServer) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert run(f"http://{HOST}/gzip-bomb", server)[0].reason == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_an_allowed_address_may_be_written_literally(server: FaultServer) -> None:
    assert run(server.url("/good"), server, allowed=("127.0.0.0/8",))[0].outcome == "ok"
    assert run(f"http://2130706433:{server.port}/good", server, allowed=("127.0.0.0/8",))[0].outcome == "failed"


def test_the_message_of_a_refused_redirect_names_where_it_led(server: FaultServer) -> None:
    record, _ = run(f"http://{HOST}/to-file", server)
    assert "file:///etc/passwd" in record.message
    assert record.final_url == f"http://{HOST}/to-file"
    assert run(f"http://{HOST}/to-private", server)[0].final_url == "http://10.0.0.1/"


def test_a_port_where_nobody_listens_refuses(server: FaultServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        record, _ = run(f"http://127.0.0.1:{free.getsockname()[1]}/", server, allowed=("127.0.0.0/8",))
    assert (record.reason, record.num_attempts) == ("refused", 3)


def test_a_certificate_nobody_vouches_for_is_a_failure(tmp_path: Path) -> None:
    with FaultServer({"/": answer(PICTURE)}, tls=self_signed(tmp_path)) as server:
        record, _ = run(f"https://{HOST}/", server)
    assert (record.reason, record.status, record.num_attempts) == ("tls", None, 1)
    assert not server.heads


def test_opt_outs_are_kept_as_evidence(server: FaultServer) -> None:
    assert run(f"http://{HOST}/noai", server)[0].headers == {"x-robots-tag": "NoAI", "content-language": "de"}
    record, _ = run(f"http://{HOST}/noai-second", server)
    assert record.headers == {"x-robots-tag": "otherbot: noarchive, noai"}
    assert record.message == "X-Robots-Tag: noai"


def test_no_password_is_sent_to_anybody(server: FaultServer) -> None:
    record, _ = run(f"http://me:secret@{HOST}/good", server)
    assert (record.outcome, record.final_url) == ("ok", f"http://{HOST}/good")
    assert not [line for line in server.heads[-1] if line.lower().startswith("authorization")]


def test_a_redirect_adds_no_line_to_a_request(server: FaultServer) -> None:
    run(f"http://{HOST}/to-crlf", server)
    assert server.heads[-1][0].split()[1].lower() == "/%0d%0ax-injected:%201"
    assert not [line for line in server.heads[-1] if line.startswith("X-Injected")]


def test_the_bound_holds_every_attempt_every_wait_and_every_sites_two_files() -> None:
    one = limits(num_attempts=1, max_redirects=0, deadline_s=2.0)
    assert bound_s(one) == 2.0 + 2 * 2.0
    three = limits(num_attempts=3, max_redirects=1, deadline_s=2.0, max_wait_s=5.0)
    assert bound_s(three) == (3 * 2.0 + 2 * 5.0) * (1 + 2 * 3 * 2)


def test_it_waits_for_no_answer_after_a_cancel(server: FaultServer) -> None:
    policy: Any = AddressPolicy(allowed=[])

    async def ask() -> None:
        connector = aiohttp.TCPConnector(resolver=CheckedResolver(policy, {HOST: server.port}))
        async with aiohttp.ClientSession(connector=connector) as session:
            async with asyncio.timeout(0.3):
                await fetch(web(session, policy, LIMITS), "u", f"http://{HOST}/slow", anything)

    with pytest.raises(TimeoutError):
        asyncio.run(ask())
