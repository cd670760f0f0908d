import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineage import files
from pipelines.web.demo_site import DemoSite

BODY = b"0123456789"
HOST = "noto.demo.test"


def behaviours() -> dict[str, dict[str, Any]]:
    return {
        f"http://{HOST}/gone.png": {"status": 410},
        f"http://{HOST}/short.png": {"short_by": 5},
        f"http://{HOST}/slow.png": {"delay_s": 60.0},
        f"http://{HOST}/flaky.png": {"status": 503, "fail_first": 2, "headers": {"Retry-After": "1"}},
        f"http://{HOST}/typed.png": {"headers": {"Content-Type": "text/plain", "X-Robots-Tag": "noai"}},
        f"http://{HOST}/moved.png": {"status": 301, "headers": {"Location": f"http://{HOST}/good.png"}},
        f"http://{HOST}/dead%20then.png": {"status": 404, "from_snapshot": "s2"},
        f"http://{HOST}/alive-then.png": {"status": 503, "until_snapshot": "s2"},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / HOST).mkdir()
    for name in ("good", "gone", "short", "slow", "flaky", "typed", "dead then", "alive-then", "Côte d'Ivoire"):
        (tmp_path / HOST / f"{name}.png").write_bytes(BODY)
    (tmp_path / "cdn.demo.test").mkdir()
    files.write_json(tmp_path / "behaviours.json", behaviours())
    return tmp_path


@pytest.fixture
def site(folder: Path) -> Iterator[DemoSite]:
    with DemoSite(folder, "s1") as site:
        yield site


def get(site: DemoSite, path: str, host: str = HOST) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=5)
    connection.request("GET", path, headers={"Host": host, "Connection": "close"})
    return connection.getresponse()


def test_a_file_is_sent_with_its_type_and_length(site: DemoSite) -> None:
    answer = get(site, "/good.png?size=64")
    assert (answer.status, answer.getheader("Content-Type"), answer.getheader("Content-Length")) == (
        200,
        "image/png",
        "10",
    )
    assert answer.read() == BODY


def test_percent_encoding_and_a_port_in_the_host_do_not_matter(site: DemoSite) -> None:
    assert get(site, "/C%C3%B4te%20d%27Ivoire.png", f"{HOST.upper()}:8080").read() == BODY


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [("/none.png", HOST, 404), ("/good.png", "cdn.demo.test", 404), ("/good.png", "gone.demo.test", 404)]
    + [("/../behaviours.json", HOST, 404), ("/%2e%2e/behaviours.json", HOST, 404), ("/gone.png", HOST, 410)]
    + [("/", HOST, 404), (f"/../{HOST}/good.png", "cdn.demo.test", 404)],
)
def test_what_is_not_there_or_not_this_hosts_is_an_error(site: DemoSite, path: str, host: str, status: int) -> None:
    assert get(site, path, host).status == status


def test_a_redirect_and_headers_are_sent_as_told(site: DemoSite) -> None:
    assert get(site, "/moved.png").getheader("Location") == f"http://{HOST}/good.png"
    typed = get(site, "/typed.png")
    assert (typed.getheader("Content-Type"), typed.getheader("X-Robots-Tag")) == ("text/plain", "noai")
    assert typed.read() == BODY


def test_a_body_ends_before_its_declared_length(site: DemoSite) -> None:
    answer = get(site, "/short.png")
    assert answer.getheader("Content-Length") == "15"
    with pytest.raises(http.client.IncompleteRead):
        answer.read()


def test_a_flaky_server_fails_so_many_times_and_then_no_more(site: DemoSite) -> None:
    assert [get(site, "/flaky.png").status for _ in range(4)] == [503, 503, 200, 200]


def test_links_die_and_come_alive_with_a_snapshot(folder: Path) -> None:
    found = {}
    for snapshot in ("s1", "s2", "s3"):
        with DemoSite(folder, snapshot) as site:
            found[snapshot] = [get(site, path).status for path in ("/dead%20then.png", "/alive-then.png")]
    assert found == {"s1": [200, 503], "s2": [404, 200], "s3": [404, 200]}


def test_an_open_slow_answer_does_not_hold_up_the_end(folder: Path) -> None:
    with DemoSite(folder, "s1") as site:
        answer = get(site, "/slow.png")
        assert answer.read(len(BODY) // 2) == BODY[:5]
        started = time.monotonic()
    assert time.monotonic() - started < 5
    answer.close()


def test_hosts_are_those_of_the_folder(site: DemoSite) -> None:
    assert site.hosts == {HOST, "cdn.demo.test"}


def test_user_mistakes_are_named(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"behaviours\.json: not there; `python -m pipelines\.demo`"):
        DemoSite(folder / HOST, "s1")
    files.write_json(folder / "behaviours.json", {"http://x.demo.test/a.png": {"colour": "red"}})
    with pytest.raises(ValueError, match=r"http://x\.demo\.test/a\.png: .*colour"):
        DemoSite(folder, "s1")
