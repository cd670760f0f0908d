"""What sites say about robots and mining, asked for through the gateway and heeded at every hop."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.web.addresses import AddressPolicy
from pipelines.web.consent import ConsentStore
from pipelines.web.fetch_record import FetchRecord
from pipelines.web.gateway import REASON_HEADER, Gateway
from pipelines.web.store import FetchStore
from tests.pipelines.fault_pages import PICTURE, limits
from tests.pipelines.fault_server import Answer, FaultServer, answer, picture, raw, reset, then
from tests.pipelines.web.test_gateway import AGENT, ask

ROBOTS, TDMREP = "/robots.txt", "/.well-known/tdmrep.json"
OURS = b"user-agent: clipline\ndisallow: /private\n\nuser-agent: *\ndisallow: /"
RESERVED = json.dumps([{"location": "/reserved/*.png", "tdm-reservation": 1}]).encode()


@contextmanager
def opened(server: FaultServer, root: Path, urls: list[str], snapshot: str = "s1", **bounds: Any) -> Iterator[Gateway]:
    """A gateway to the server under two names, with uids u0, u1, ..."""
    fetched = FetchStore(root, snapshot)
    try:
        with Gateway(
            {f"u{number}": url for number, url in enumerate(urls)},
            fetched,
            policy=AddressPolicy(allowed=[]),
            limits=limits(num_attempts=2, **bounds),
            user_agent=AGENT,
            sites={"a.demo.test": server.port, "b.demo.test": server.port},
            num_connections=8,
        ) as gateway:
            yield gateway
            gateway.raise_error()
    finally:
        fetched.close()


def fetched(server: FaultServer, root: Path, *urls: str, **options: Any) -> list[FetchRecord]:
    """Has the gateway fetch URLs, in order, and returns their records."""
    with opened(server, root, list(urls), **options) as gateway:
        for number in range(len(urls)):
            response = ask(gateway, f"u{number}")
            reason = response.headers.get(REASON_HEADER)
            assert gateway._store[f"u{number}"].reason == reason
        return [gateway._store[f"u{number}"] for number in range(len(urls))]


def said(root: Path, snapshot: str = "s1") -> list[dict[str, Any]]:
    text = (root / "consent" / snapshot / "index.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def site(**answers: Answer) -> FaultServer:
    pages = {path: answer(PICTURE) for path in ("/x.png", "/private/x.png", "/reserved/x.png", "/reserved/x.jpg")}
    return FaultServer(
        pages | {path.replace("robots", ROBOTS).replace("tdmrep", TDMREP): a for path, a in answers.items()}
    )


def test_a_site_that_says_nothing_forbids_nothing_and_is_asked_once(tmp_path: Path) -> None:
    with site() as server:
        records = fetched(server, tmp_path, "http://a.demo.test/x.png", "http://a.demo.test/private/x.png")
        assert [record.outcome for record in records] == ["ok", "ok"]
        assert server.hits == {ROBOTS: 1, TDMREP: 1, "/x.png": 1, "/private/x.png": 1}
    assert [record.consent for record in records] == [["s1/1", "s1/2"]] * 2
    facts = [(one["id"], one["origin"], one["kind"], one["outcome"], one["status"]) for one in said(tmp_path)]
    assert facts == [
        ("s1/1", "http://a.demo.test", "robots", "absent", 404),
        ("s1/2", "http://a.demo.test", "tdmrep", "absent", 404),
    ]


def test_robots_txt_is_heeded_before_anything_is_asked_for(tmp_path: Path) -> None:
    with site(robots=answer(OURS)) as server:
        records = fetched(server, tmp_path, "http://a.demo.test/private/x.png", "http://a.demo.test/x.png")
        assert server.hits["/private/x.png"] == 0
    assert [record.reason for record in records] == ["robots_disallowed", None]
    assert records[0].message == "http://a.demo.test/robots.txt forbids /private/x.png"
    assert (records[0].status, records[0].num_attempts, records[0].consent) == (None, 1, ["s1/1"])


def test_tdmrep_is_heeded_before_anything_is_asked_for(tmp_path: Path) -> None:
    with site(tdmrep=answer(RESERVED)) as server:
        records = fetched(server, tmp_path, "http://a.demo.test/reserved/x.png", "http://a.demo.test/reserved/x.jpg")
        assert server.hits["/reserved/x.png"] == 0
    assert [record.reason for record in records] == ["tdm_reserved", None]


def test_robots_txt_may_be_left_unheeded_and_is_then_not_asked_for(tmp_path: Path) -> None:
    with site(robots=answer(OURS), tdmrep=answer(RESERVED)) as server:
        urls = ["http://a.demo.test/private/x.png", "http://a.demo.test/reserved/x.png"]
        records = fetched(server, tmp_path, *urls, respect_robots=False)
        assert server.hits[ROBOTS] == 0
    assert [record.reason for record in records] == [None, "tdm_reserved"]


def test_the_answer_is_kept_word_for_word(tmp_path: Path) -> None:
    with site(robots=answer(OURS)) as server:
        fetched(server, tmp_path, "http://a.demo.test/x.png")
    store = ConsentStore(tmp_path, "s2")
    record = store.find("http://a.demo.test", "robots")
    assert record is not None
    assert store.body(record) == OURS
    assert (record.outcome, record.status, record.final_url) == ("read", 200, "http://a.demo.test/robots.txt")
    assert store.find("http://b.demo.test", "robots") is None
    store.close()


@pytest.mark.parametrize(
    ("robots", "reason"),
    [
        (answer(b"", 401), None),
        (answer(b"", 403), None),
        (answer(b"", 410), None),
        (answer(b"", 204), None),
        (answer(b""), None),
        (answer(b"", 302, {"Location": ROBOTS}), None),
        (answer(b"", 302, {"Location": "ftp://a.demo.test/robots.txt"}), None),
        (answer(b"\xff\xfe\0 disallow: /"), None),
        (answer(b"", 302, {"Location": "http://b.demo.test/ours.txt"}), "robots_disallowed"),
        (answer(b"", 500), "robots_disallowed"),
        (answer(b"", 503), "robots_disallowed"),
        (answer(OURS, short_by=9), "robots_disallowed"),
        (answer(b"", 302, {"Location": "http://10.0.0.1/robots.txt"}), "address_not_allowed"),
        (answer(b"", 429), "too_many_requests"),
        (answer(b"", 429, {"Retry-After": "3600"}), "too_many_requests"),
        (reset, "refused"),
        (raw(b"SSH-2.0\r\n"), "refused"),
        (answer(OURS, delay_s=9.0), "timeout"),
        (then(answer(b"", 500), answer(b"")), None),
    ],
    ids=range(19),
)
def test_a_robots_txt_that_is_not_there_forbids_nothing_and_one_that_cannot_be_had_all(
    robots: Answer, reason: str | None, tmp_path: Path
) -> None:
    everything = answer(b"user-agent: *\ndisallow: /")
    with site(robots=robots, **{"/ours.txt": everything}) as server:
        record = fetched(server, tmp_path, "http://a.demo.test/x.png", deadline_s=0.5)[0]
        assert server.hits["/x.png"] == (1 if reason is None else 0)
    assert record.reason == reason, record.message
    assert record.consent[0] == "s1/1"
    if reason and reason != "robots_disallowed":
        assert "its robots.txt cannot be had" in record.message


@pytest.mark.parametrize("tdmrep", [answer(b"", 500), reset, answer(RESERVED, short_by=9), answer(b"[nonsense")])
def test_a_tdmrep_that_cannot_be_had_reserves_nothing(tdmrep: Answer, tmp_path: Path) -> None:
    with site(tdmrep=tdmrep) as server:
        assert fetched(server, tmp_path, "http://a.demo.test/reserved/x.png")[0].outcome == "ok"


def test_a_redirects_target_is_asked_for_its_own_word(tmp_path: Path) -> None:
    async def by_host(writer: asyncio.StreamWriter, number: int) -> None:
        forbids = any(line == "Host: b.demo.test" for line in server.heads[-1])
        await answer(b"user-agent: *\ndisallow: /x" if forbids else b"")(writer, number)

    there = answer(b"", 302, {"Location": "http://b.demo.test/x.png"})
    with site(robots=by_host, **{"/hop.png": there}) as server:
        records = fetched(server, tmp_path, "http://a.demo.test/hop.png", "http://a.demo.test/x.png")
        assert server.hits["/x.png"] == 1
    assert [record.reason for record in records] == ["robots_disallowed", None]
    assert records[0].final_url == "http://b.demo.test/x.png"
    assert records[0].consent == ["s1/1", "s1/2", "s1/3"]


def test_requests_at_once_ask_the_site_once(tmp_path: Path) -> None:
    pages = {f"/{number}.png": answer(picture(number)) for number in range(30)}
    with site(robots=answer(OURS, delay_s=0.2), **pages) as server:
        with opened(server, tmp_path, [f"http://a.demo.test/{number}.png" for number in range(30)]) as gateway:
            gateway.work_ahead([f"u{number}" for number in range(30)])
            assert [ask(gateway, f"u{number}").status for number in range(30)] == [200] * 30
        assert (server.hits[ROBOTS], server.hits[TDMREP]) == (1, 1)


def test_a_decision_counts_in_later_runs_and_snapshots_until_it_expires(tmp_path: Path) -> None:
    with site(robots=then(answer(OURS), answer(b""))) as server:
        url = "http://a.demo.test/private/x.png"
        assert fetched(server, tmp_path, url)[0].reason == "robots_disallowed"
        later = fetched(server, tmp_path, url, snapshot="s2")[0]
        assert (later.reason, later.consent) == ("robots_disallowed", ["s1/1"])
        assert server.hits[ROBOTS] == 1
        index = tmp_path / "consent/s1/index.jsonl"
        expired = [{**line, "expires_at": 1.0} for line in said(tmp_path)]
        index.write_text("".join(json.dumps(line) + "\n" for line in expired))
        again = fetched(server, tmp_path, url, snapshot="s3")[0]
        assert (again.outcome, again.consent) == ("ok", ["s3/1", "s3/2"])
        assert server.hits[ROBOTS] == 2
    assert [line["id"] for line in said(tmp_path, "s3")] == ["s3/1", "s3/2"]


def test_a_site_in_trouble_is_asked_again_soon(tmp_path: Path) -> None:
    with site(robots=then(answer(b"", 500), answer(b"", 500), answer(b""))) as server:
        urls = ["http://a.demo.test/x.png", "http://a.demo.test/reserved/x.png"]
        assert [one.reason for one in fetched(server, tmp_path, *urls)] == ["robots_disallowed"] * 2
        assert server.hits[ROBOTS] == 2  # one question, two attempts
        assert fetched(server, tmp_path / "other", *urls, max_wait_s=0.1)[0].outcome == "ok"


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    with site() as server:
        fetched(server, tmp_path, "http://a.demo.test/x.png")
    with (tmp_path / "consent/s1/index.jsonl").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(ValueError, match=r"consent/s1/index\.jsonl:3: no consent record"):
        ConsentStore(tmp_path, "s2")


def test_numbers_go_on_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    with site() as server:
        fetched(server, tmp_path, "http://a.demo.test/x.png")
        with (tmp_path / "consent/s1/index.jsonl").open("a") as file:
            file.write('{"id": "s1/3"')
        record = fetched(server, tmp_path, "http://a.demo.test/x.png", "http://b.demo.test/x.png")[1]
    assert record.consent == ["s1/3", "s1/4"]
    assert [line["id"] for line in said(tmp_path)] == ["s1/1", "s1/2", "s1/3", "s1/4"]
