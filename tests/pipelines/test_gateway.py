import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineage import digests
from pipelines.addresses import AddressPolicy, parse_networks
from pipelines.fetch import FetchLimits
from pipelines.gateway import HOST, REASON_HEADER, Gateway
from pipelines.store import FetchStore
from tests.pipelines.fault_server import FaultServer, answer, picture, then

LIMITS = FetchLimits(deadline_s=5.0, max_bytes=1 << 20, max_redirects=3, num_attempts=2, backoff_s=0.01)
AGENT = "Clipline/0.1 (+https://example.org/bot)"
PATHS = {"u1": "/good", "u2": "/gone", "u3": "/slow", "u4": "/cookie", "u5": "/flaky"}
COOKIE = {"Set-Cookie": "session=1; Path=/", "X-Robots-Tag": "noarchive"}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    answers = {
        "/good": answer(picture(1)),
        "/slow": answer(picture(3), delay_s=0.5),
        "/cookie": answer(picture(4), headers=COOKIE),
        "/flaky": then(answer(b"", 500), answer(picture(5))),
    }
    with FaultServer(answers) as running:
        yield running


@contextmanager
def opened(server: FaultServer, root: Path, snapshot: str = "s1") -> Iterator[Gateway]:
    fetched = FetchStore(root, snapshot)
    try:
        with Gateway(
            {uid: server.url(path) for uid, path in PATHS.items()},
            fetched,
            policy=AddressPolicy(allowed=parse_networks(["127.0.0.0/8"])),
            limits=LIMITS,
            user_agent=AGENT,
            sites={},
            num_connections=8,
        ) as gateway:
            yield gateway
    finally:
        fetched.close()


def ask(gateway: Gateway, uid: str, host: str = HOST) -> http.client.HTTPResponse:
    """Asks as urllib does of an http_proxy: the whole URL in the request line."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    try:
        connection.request("GET", f"http://{host}/{uid}", headers={"Host": host, "Connection": "close"})
        response = connection.getresponse()
        response.content = response.read()  # type: ignore[attr-defined]
        return response
    finally:
        connection.close()


def content(response: http.client.HTTPResponse) -> bytes:
    body: bytes = response.content  # type: ignore[attr-defined]
    return body


def test_it_answers_with_the_picture(server: FaultServer, tmp_path: Path) -> None:
    with opened(server, tmp_path) as gateway:
        response = ask(gateway, "u1")
    assert (response.status, content(response)) == (200, picture(1))


def test_a_failure_is_502_with_the_reason(server: FaultServer, tmp_path: Path) -> None:
    with opened(server, tmp_path) as gateway:
        response = ask(gateway, "u2")
        gateway.raise_error()
    assert (response.status, response.headers[REASON_HEADER], content(response)) == (502, "http_404", b"")


def test_what_was_fetched_once_is_never_fetched_again(server: FaultServer, tmp_path: Path) -> None:
    for num_fetched in (3, 0):
        with opened(server, tmp_path) as gateway:
            for _ in range(2):
                assert content(ask(gateway, "u1")) == picture(1)
                assert ask(gateway, "u2").headers[REASON_HEADER] == "http_404"
                assert content(ask(gateway, "u5")) == picture(5)
            assert gateway.num_fetched == num_fetched
    assert server.hits == {"/good": 1, "/gone": 1, "/flaky": 2}


def test_requests_at_once_share_one_fetch(server: FaultServer, tmp_path: Path) -> None:
    bodies: list[bytes] = []
    with opened(server, tmp_path) as gateway:
        askers = [threading.Thread(target=lambda: bodies.append(content(ask(gateway, "u3")))) for _ in range(6)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
    assert bodies == [picture(3)] * 6
    assert server.hits["/slow"] == 1


def test_a_client_that_went_away_does_not_stop_the_fetch(server: FaultServer, tmp_path: Path) -> None:
    with opened(server, tmp_path) as gateway:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
        connection.request("GET", f"http://{HOST}/u3", headers={"Host": HOST})
        time.sleep(0.1)
        connection.close()
        assert content(ask(gateway, "u3")) == picture(3)
    assert server.hits["/slow"] == 1


@pytest.mark.parametrize(
    ("uid", "host"), [("u9", HOST), ("", HOST), ("u1/x", HOST), ("u1", "example.com"), ("u1", "127.0.0.1")]
)
def test_it_is_no_proxy_to_anything_else(uid: str, host: str, server: FaultServer, tmp_path: Path) -> None:
    with opened(server, tmp_path) as gateway:
        assert ask(gateway, uid, host).status == 403
        assert gateway.num_fetched == 0


def test_it_says_who_it_is_and_keeps_no_cookie(server: FaultServer, tmp_path: Path) -> None:
    with opened(server, tmp_path) as gateway:
        response = ask(gateway, "u4")
        ask(gateway, "u1")
    assert response.status == 200
    assert "X-Robots-Tag" not in response.headers
    first, second = server.heads
    assert f"User-Agent: {AGENT}" in first
    assert "Accept-Encoding: identity" in first
    assert not [line for line in second if line.lower().startswith("cookie")]


def test_the_environments_proxies_do_not_lead_around_the_checks(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with opened(server, tmp_path) as gateway:
        assert ask(gateway, "u1").status == 200


def test_it_logs_no_line_a_request(server: FaultServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), opened(server, tmp_path) as gateway:
        ask(gateway, "u1")
        ask(gateway, "u2")
    assert not caplog.records


def test_a_damaged_store_is_told_not_taken_for_the_webs_fault(server: FaultServer, tmp_path: Path) -> None:
    with opened(server, tmp_path) as gateway:
        ask(gateway, "u1")
    segment = tmp_path / "fetch/s1/00000.warc.gz"
    segment.write_bytes(b"\0" * segment.stat().st_size)
    with opened(server, tmp_path) as gateway:
        assert ask(gateway, "u1").status == 500
        with pytest.raises(ValueError, match=r"00000\.warc\.gz: no record at byte 0"):
            gateway.raise_error()
    assert server.hits["/good"] == 1


def test_it_ends_at_once_with_fetches_under_way(server: FaultServer, tmp_path: Path) -> None:
    server.answers["/slow"] = answer(picture(), delay_s=60.0)
    with opened(server, tmp_path) as gateway:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port)
        connection.request("GET", f"http://{HOST}/u3", headers={"Host": HOST})
        while not server.hits["/slow"]:
            time.sleep(0.01)
        started = time.monotonic()
    connection.close()
    assert time.monotonic() - started < 2.0
    with opened(server, tmp_path):
        assert (tmp_path / "fetch/s1/index.jsonl").read_bytes() == b""  # an unfinished fetch is no failure


def test_bodies_are_stored_before_they_are_answered(server: FaultServer, tmp_path: Path) -> None:
    with opened(server, tmp_path) as gateway:
        ask(gateway, "u1")
        text = (tmp_path / "fetch/s1/index.jsonl").read_text()
    assert digests.sha256_bytes(picture(1)) in text
