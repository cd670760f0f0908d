import http.client
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineage import digests
from pipelines.web import gateway as gateways
from pipelines.web.addresses import AddressPolicy, parse_networks
from pipelines.web.gateway import HOST, REASON_HEADER, Gateway
from pipelines.web.store import FetchStore
from tests.pipelines.fault_pages import limits
from tests.pipelines.fault_server import FaultServer, answer, picture, then

LIMITS = limits(deadline_s=5.0, num_attempts=2)
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
def opened(
    server: FaultServer, root: Path, snapshot: str = "s1", *, paths: Mapping[str, str] = PATHS
) -> Iterator[Gateway]:
    fetched = FetchStore(root, snapshot)
    try:
        with Gateway(
            {uid: server.url(path) for uid, path in paths.items()},
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
    asked = {path: number for path, number in server.hits.items() if path in PATHS.values()}
    assert asked == {"/good": 1, "/gone": 1, "/flaky": 2}


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
    robots, _, first, second = server.heads
    for head in server.heads:
        assert f"User-Agent: {AGENT}" in head
        assert "Accept-Encoding: identity" in head
        assert not [line for line in head if line.lower().startswith("cookie")]
    assert [line for line in robots + first if line.startswith("Accept:")] == ["Accept: */*", "Accept: image/*"]
    assert second[0].startswith("GET /good ")


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


def test_a_client_is_kept_waiting_for_as_long_as_it_takes(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateways, "HEARTBEAT_S", 0.2)
    server.answers["/slow"] = answer(picture(3), delay_s=1.5)
    with opened(server, tmp_path) as gateway:
        monkeypatch.setenv("http_proxy", gateway.url)
        monkeypatch.setattr(urllib.request, "_opener", None)  # made once, with the proxies of that moment
        with urllib.request.urlopen(f"http://{HOST}/u3", timeout=0.6) as response:  # as img2dataset asks
            assert response.read() == picture(3)


def test_it_works_ahead_of_the_requests(server: FaultServer, tmp_path: Path) -> None:
    with opened(server, tmp_path) as gateway:
        gateway.work_ahead(uid for uid in ("u1", "u2", "u5"))
        while len(gateway._store) < 3:
            time.sleep(0.01)
        assert (gateway.num_fetched, gateway.num_answered) == (3, 0)
        assert content(ask(gateway, "u1")) == picture(1)
        assert (gateway.num_fetched, gateway.num_answered) == (3, 1)
    assert server.hits["/good"] == 1


def test_a_slow_host_does_not_hold_up_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the list is one host's that takes one request at a time; the other half is there at once."""
    monkeypatch.setattr(gateways, "_WINDOW", 40)
    names = {"slow.demo.test": 0.3, **{f"h{number}.demo.test": 0.0 for number in range(20)}}
    urls = {f"u{n:02d}": f"http://{'slow' if n % 2 else f'h{n // 2}'}.demo.test/{n % 2}/{n}" for n in range(40)}
    answers = {f"/{n % 2}/{n}": answer(picture(n), delay_s=0.3 * (n % 2)) for n in range(40)}
    with FaultServer(answers) as site:
        fetched = FetchStore(tmp_path, "s1")
        with Gateway(
            urls,
            fetched,
            policy=AddressPolicy(allowed=[]),
            limits=limits(host_connections=1),
            user_agent=AGENT,
            sites=dict.fromkeys(names, site.port),
            num_connections=4,
        ) as gateway:
            started = time.monotonic()
            gateway.work_ahead(urls)
            while sum(uid in fetched for uid in list(urls)[::2]) < 20:
                time.sleep(0.01)
            assert time.monotonic() - started < 1.5
            assert sum(uid in fetched for uid in list(urls)[1::2]) < 6
            assert site.most_at_once["/1/"] == 1
        fetched.close()


def test_a_url_under_several_captions_is_fetched_once(server: FaultServer, tmp_path: Path) -> None:
    paths = {f"u{number}": "/good" if number % 2 else "/gone" for number in range(10)}
    with opened(server, tmp_path, paths=paths) as gateway:
        gateway.work_ahead(paths)
        assert [ask(gateway, uid).status for uid in paths] == [502, 200] * 5
        assert gateway.num_fetched == 2
    again = FetchStore(tmp_path, "s1")
    assert [again[uid].uid for uid in paths] == list(paths)
    assert {again.body(uid) for uid in list(paths)[1::2]} == {picture(1)}
    again.close()
    assert (server.hits["/good"], server.hits["/gone"]) == (1, 1)


def test_it_tells_how_long_nothing_was_asked(server: FaultServer, tmp_path: Path) -> None:
    with opened(server, tmp_path) as gateway:
        asker = threading.Thread(target=lambda: ask(gateway, "u3"))
        asker.start()
        while not server.hits["/slow"]:
            time.sleep(0.01)
        assert gateway.idle_s == 0.0
        asker.join()
        time.sleep(0.1)
        assert 0.1 <= gateway.idle_s < 5.0
        assert gateway.num_answered == 1


@pytest.mark.parametrize("said", [b"", b"GET http://gateway.in", b"GET http://gateway.invalid/u1 HTTP/1.1\r\n\r\n"])
def test_a_client_that_hangs_does_not_pass_for_work(
    said: bytes, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped worker may have connected and no more, have asked in part, or never read its answer."""
    monkeypatch.setitem(globals(), "LIMITS", limits(max_bytes=30_000_000))
    server.answers["/good"] = answer(picture() + bytes(20_000_000))
    with opened(server, tmp_path) as gateway, socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(said)
        while said.endswith(b"\r\n\r\n") and not gateway.num_answered:
            time.sleep(0.01)
        time.sleep(0.3)
        assert gateway.idle_s >= 0.2


def test_a_gateway_that_has_ended_is_told(server: FaultServer, tmp_path: Path) -> None:
    with opened(server, tmp_path) as gateway:
        gateway.raise_error()
    with pytest.raises(ValueError, match="the gateway has ended by itself"):
        gateway.raise_error()


def test_a_store_that_cannot_be_written_ends_the_work(server: FaultServer, tmp_path: Path) -> None:
    with opened(server, tmp_path) as gateway:
        gateway._store._journal._index.close()  # type: ignore[union-attr]
        gateway.work_ahead(["u1"])
        while gateway._error is None:
            time.sleep(0.01)
        with pytest.raises(ValueError, match="closed file"):
            gateway.raise_error()
