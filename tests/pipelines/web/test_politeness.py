import asyncio
import itertools
import time

import pytest

from pipelines.web import politeness
from pipelines.web.politeness import HostClosedError, Politeness


def polite(**changes: float) -> Politeness:
    usual = {"num_connections": 8, "host_connections": 2, "host_delay_s": 0.0, "backoff_s": 0.05, "max_wait_s": 1.0}
    return Politeness(**{**usual, **changes})  # type: ignore[arg-type]


async def visits(hosts: Politeness, names: list[str], seconds: float) -> dict[str, list[float]]:
    """Returns when the visits to each host began, from the start of the first, all wanted at once."""
    found: dict[str, list[float]] = {name: [] for name in names}
    begun = time.monotonic()

    async def visit(name: str) -> None:
        async with hosts.turn(name):
            found[name].append(time.monotonic() - begun)
            await asyncio.sleep(seconds)

    await asyncio.gather(*(visit(name) for name in names))
    return found


def most_at_once(starts: list[float], seconds: float) -> int:
    return max(sum(start <= other < start + seconds * 0.9 for other in starts) for start in starts)


def test_a_host_gets_no_more_than_its_connections_and_others_do_not_wait() -> None:
    found = asyncio.run(visits(polite(), ["a"] * 6 + ["b"] * 2, 0.1))
    assert most_at_once(found["a"], 0.1) == 2
    assert 0.2 <= found["a"][-1] < 0.4
    assert max(found["b"]) < 0.1


def test_all_hosts_together_get_no_more_than_the_gateways_connections() -> None:
    found = asyncio.run(visits(polite(num_connections=3), list("abcdef"), 0.1))
    assert most_at_once([start for starts in found.values() for start in starts], 0.1) == 3


def test_two_starts_keep_their_distance_even_where_connections_are_short() -> None:
    hosts = polite(num_connections=2, host_connections=4, host_delay_s=0.05)
    found = asyncio.run(visits(hosts, ["a"] * 5 + ["b"] * 5, 0.02))
    for starts in found.values():
        assert min(b - a for a, b in itertools.pairwise(starts)) >= 0.049


def test_a_host_that_waits_keeps_no_connection_from_others() -> None:
    hosts = polite(num_connections=1, host_delay_s=0.3)
    found = asyncio.run(visits(hosts, ["a", "a", "a", "b"], 0.0))
    assert found["b"][0] < 0.1
    assert found["a"][-1] >= 0.6


def test_a_complaint_holds_back_all_that_wait_and_only_that_host() -> None:
    async def go() -> None:
        hosts = polite()
        hosts.slow_down("a", 0.3, reason="too_many_requests", message="HTTP 429")
        found = await visits(hosts, ["a", "a", "b"], 0.0)
        assert min(found["a"]) >= 0.29
        assert found["b"][0] < 0.1

    asyncio.run(go())


def test_a_complaint_reaches_those_that_wait_already() -> None:
    async def go() -> None:
        hosts = polite(host_delay_s=0.1)
        waiting = asyncio.ensure_future(visits(hosts, ["a"] * 3, 0.0))
        await asyncio.sleep(0.05)
        hosts.slow_down("a", 0.4, reason="too_many_requests", message="HTTP 429")
        starts = (await waiting)["a"]
        assert starts[0] < 0.05
        assert starts[1] >= 0.44

    asyncio.run(go())


def test_without_a_word_on_time_pauses_double_and_good_answers_take_them_back() -> None:
    async def go() -> None:
        hosts = polite(backoff_s=0.02, max_wait_s=0.06)
        delays = []
        for _ in range(4):
            for _ in range(3):  # under way together
                hosts.slow_down("a", None, reason="too_many_requests", message="HTTP 429")
            delays.append(hosts._host("a").delay_s)
            await asyncio.sleep(delays[-1] + 0.001)
        assert delays == [0.02, 0.04, 0.06, 0.06]
        for _ in range(60):
            hosts.speed_up("a")
        assert hosts._host("a").delay_s == 0.0

    asyncio.run(go())


def test_a_host_that_asks_for_more_than_we_wait_is_not_asked_again() -> None:
    async def go() -> None:
        hosts = polite()
        waiting = asyncio.ensure_future(visits(hosts, ["a"] * 9, 0.2))
        await asyncio.sleep(0.05)
        hosts.slow_down("a", 3600.0, reason="server_error", message="HTTP 503")
        with pytest.raises(HostClosedError, match=r"HTTP 503; not to be asked for another 3600 s") as caught:
            await waiting
        assert caught.value.reason == "server_error"
        started = time.monotonic()
        with pytest.raises(HostClosedError):
            await visits(hosts, ["a"], 0.0)
        assert (await visits(hosts, ["b"], 0.0))["b"]
        assert time.monotonic() - started < 0.1

    asyncio.run(go())


def test_a_host_that_never_has_enough_is_left_alone_after_a_while() -> None:
    async def go() -> None:
        hosts = polite(max_wait_s=0.01)
        for name, num_good in (("always", 0), ("often", 1)):
            for number in range(40):
                hosts.slow_down(name, 0.0, reason="too_many_requests", message="HTTP 429")
                if number % 19 < num_good:
                    hosts.speed_up(name)
        assert (await visits(hosts, ["often"], 0.0))["often"]
        with pytest.raises(HostClosedError, match="HTTP 429; not to be asked"):
            await visits(hosts, ["always"], 0.0)
        await asyncio.sleep(0.1)
        assert (await visits(hosts, ["always"], 0.0))["always"]

    asyncio.run(go())


def test_a_long_delay_of_our_own_is_no_complaint() -> None:
    found = asyncio.run(visits(polite(host_delay_s=0.2, max_wait_s=0.1), ["a", "a"], 0.0))
    assert found["a"][1] >= 0.2


def test_a_turn_that_ends_in_an_error_or_a_cancel_is_given_back() -> None:
    async def go() -> None:
        hosts = polite(num_connections=1, host_connections=1)
        with pytest.raises(RuntimeError):
            async with hosts.turn("a"):
                raise RuntimeError
        async with hosts.turn("a"):
            waiting = asyncio.ensure_future(visits(hosts, ["a"], 0.0))
            await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.wait_for(visits(hosts, ["a", "b"], 0.0), 1.0)

    asyncio.run(go())


def test_a_name_with_a_dot_at_its_end_is_the_same_host() -> None:
    found = asyncio.run(visits(polite(host_connections=1), ["a", "a."], 0.1))
    assert found["a."][0] >= 0.1


def test_hosts_with_nothing_to_remember_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(politeness, "_NUM_REMEMBERED", 10)

    async def go() -> None:
        hosts = polite()
        hosts.slow_down("slow", 5.0, reason="too_many_requests", message="")
        async with hosts.turn("used"):
            for number in range(100):
                await visits(hosts, [str(number)], 0.0)
            assert len(hosts._hosts) < 40
            assert {"slow", "used"} <= set(hosts._hosts)

    asyncio.run(go())
