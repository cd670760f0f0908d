"""Attempts, the waits between them, and what a complaint of one URL does to the others of its host."""

import asyncio
import email.utils
import time

import aiohttp
import pytest

from lineage import digests
from pipelines.web import rounds
from pipelines.web.addresses import AddressPolicy, CheckedResolver
from pipelines.web.fetch import Answer, FetchFailedError
from pipelines.web.fetch_record import FetchRecord
from tests.pipelines.fault_pages import HOST, PICTURE, limits
from tests.pipelines.fault_server import Answer as ServerAnswer
from tests.pipelines.fault_server import FaultServer, answer, then
from tests.pipelines.web.test_fetch import anything, run, web


def failing(reason: str, retry_after_s: float | None = None) -> Answer:
    return Answer(final_url="", at="", failure=FetchFailedError(reason, "", retry_after_s=retry_after_s))


@pytest.mark.parametrize("reason", ["timeout", "refused", "server_error", "incomplete_body", "too_many_requests"])
def test_waits_double_and_are_scattered_by_the_uid_alone(reason: str) -> None:
    bounds = limits(backoff_s=1.0, num_attempts=9, max_wait_s=1000.0)
    for number in range(1, 9):
        waits = [rounds.wait_s(failing(reason), number, seed=f"u{n}", limits=bounds) for n in range(50)]
        assert waits == [rounds.wait_s(failing(reason), number, seed=f"u{n}", limits=bounds) for n in range(50)]
        assert len(set(waits)) == 50
        least, most = 2.0 ** (number - 1), 1.5 * 2.0 ** (number - 1)
        assert all(wait is not None and least <= wait < most for wait in waits)
    assert rounds.wait_s(failing(reason), 9, seed="u", limits=bounds) is None


def test_no_wait_is_longer_than_the_bound_or_shorter_than_the_server_asks() -> None:
    bounds = limits(backoff_s=4.0, num_attempts=9, max_wait_s=10.0)
    assert rounds.wait_s(failing("timeout"), 8, seed="u", limits=bounds) == 10.0
    assert rounds.wait_s(failing("too_many_requests", 9.0), 1, seed="u", limits=bounds) == 9.0
    assert (rounds.wait_s(failing("too_many_requests", 0.0), 1, seed="u", limits=bounds) or 0) >= 4.0
    assert rounds.wait_s(failing("too_many_requests", 11.0), 1, seed="u", limits=bounds) is None


@pytest.mark.parametrize("reason", ["http_404", "opt_out", "dns", "tls", "address_not_allowed", "robots_disallowed"])
def test_what_is_final_is_not_asked_again(reason: str) -> None:
    assert rounds.wait_s(failing(reason), 1, seed="u", limits=limits()) is None


def test_what_came_is_not_asked_again() -> None:
    assert rounds.wait_s(Answer(final_url="", at=""), 1, seed="u", limits=limits()) is None


def test_every_attempt_is_kept_as_evidence() -> None:
    answers = {"/x": then(answer(b"", 503, {"Retry-After": "0"}), answer(PICTURE, short_by=3), answer(PICTURE))}
    with FaultServer(answers) as server:
        record, body = run(f"http://{HOST}/x", server)
    assert (record.outcome, record.num_attempts, body) == ("ok", 3, PICTURE)
    assert record.sha256 == digests.sha256_bytes(PICTURE)
    assert [(attempt["status"], attempt["reason"]) for attempt in record.attempts] == [
        (503, "server_error"),
        (200, "incomplete_body"),
        (200, None),
    ]
    assert all(attempt["final_url"] == f"http://{HOST}/x" for attempt in record.attempts)
    assert all(0 <= attempt["seconds"] < 2 and attempt["at"].startswith("20") for attempt in record.attempts)


def many(answers: dict[str, ServerAnswer], num: int, **bounds: float) -> tuple[list[FetchRecord], FaultServer, float]:
    """Fetches /0, /1, ... of one host at once."""
    policy = AddressPolicy(allowed=[])

    async def ask(server: FaultServer) -> list[FetchRecord]:
        connector = aiohttp.TCPConnector(resolver=CheckedResolver(policy, {HOST: server.port}))
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
            asked = web(session, policy, limits(**bounds))
            urls = [f"http://{HOST}/{number}" for number in range(num)]
            found = await asyncio.gather(*(rounds.fetch(asked, url[-8:], url, anything) for url in urls))
            return [record for record, _ in found]

    with FaultServer(answers) as server:
        started = time.monotonic()
        return asyncio.run(ask(server)), server, time.monotonic() - started


def test_a_429_holds_the_whole_host_back_for_as_long_as_it_says() -> None:
    answers = {"/0": then(answer(b"", 429, {"Retry-After": "1"}), answer(PICTURE))}
    answers |= {f"/{number}": answer(PICTURE, delay_s=0.1) for number in range(1, 6)}
    found, server, seconds = many(answers, 6, host_connections=1)
    assert [record.outcome for record in found] == ["ok"] * 6
    assert sum(server.hits.values()) == 7
    assert seconds > 1.4  # the first, a pause of 1 s, then five of 0.1 s


def test_a_retry_after_may_be_a_date() -> None:
    in_two_seconds = email.utils.formatdate(time.time() + 2, usegmt=True)
    answers = {"/0": then(answer(b"", 503, {"Retry-After": in_two_seconds}), answer(PICTURE))}
    found, _, seconds = many(answers, 1)
    assert found[0].outcome == "ok"
    assert 0.5 < seconds < 3.5


def test_a_host_that_wants_to_be_left_alone_for_long_is_and_every_url_says_so() -> None:
    answers = {f"/{number}": answer(b"", 429, {"Retry-After": "3600"}) for number in range(50)}
    found, server, seconds = many(answers, 50, host_connections=2)
    assert {record.reason for record in found} == {"too_many_requests"}
    assert sum(server.hits.values()) <= 2
    assert seconds < 2.0
    assert "Retry-After 3600 s" in found[0].message
    assert "not to be asked for another" in found[-1].message


def test_waiting_is_not_taken_from_the_deadline() -> None:
    answers = {f"/{number}": answer(PICTURE, delay_s=0.2) for number in range(8)}
    found, _, seconds = many(answers, 8, host_connections=1, deadline_s=0.5, num_attempts=1)
    assert [record.outcome for record in found] == ["ok"] * 8
    assert seconds >= 1.6


def test_a_server_that_bears_a_few_requests_at_a_time_gives_all_in_the_end() -> None:
    """It answers 429 without a word on time to whatever comes too soon; the pauses grow until it is content."""
    last = [0.0]

    async def touchy(writer: asyncio.StreamWriter, number: int) -> None:
        now = time.monotonic()
        good, last[0] = now - last[0] > 0.05, now
        await (answer(PICTURE) if good else answer(b"", 429))(writer, number)

    bounds = {"host_connections": 4, "num_attempts": 6, "backoff_s": 0.06}
    found, _, _ = many({f"/{number}": touchy for number in range(8)}, 8, **bounds)
    assert [record.outcome for record in found] == ["ok"] * 8
