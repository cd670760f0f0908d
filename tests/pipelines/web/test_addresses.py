import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.web.addresses import AddressNotAllowedError, AddressPolicy, CheckedResolver, parse_networks

PUBLIC_ONLY = AddressPolicy(allowed=[])
INSIDE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "fe80::1",
    "fe80::1%lo",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "192.0.0.8",
    "2001:1::1",
    "64:ff9b::7f00:1",
    "2001:db8::1",
]


def resolve(host: str, policy: AddressPolicy = PUBLIC_ONLY, sites: dict[str, int] | None = None) -> list[tuple]:
    async def ask() -> list[tuple]:
        resolver = CheckedResolver(policy, sites or {})
        try:
            return [(found["host"], found["port"]) for found in await resolver.resolve(host, 80)]
        finally:
            await resolver.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_inside_are_refused(address: str) -> None:
    with pytest.raises(AddressNotAllowedError, match=r"not a public address; allow it in download.allow_addresses"):
        PUBLIC_ONLY.check(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_may_be_connected_to(address: str) -> None:
    PUBLIC_ONLY.check(address)


def test_text_that_is_no_address_is_refused() -> None:
    with pytest.raises(AddressNotAllowedError, match="is not an address"):
        PUBLIC_ONLY.check("2130706433")


def test_allowed_networks_open_what_they_hold_and_no_more() -> None:
    policy = AddressPolicy(allowed=parse_networks(["127.0.0.0/8", "10.1.2.3", "fd00::/8"]))
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "10.1.2.3", "fd00::1"):
        policy.check(address)
        policy.check_host(address)
    for address in ("10.1.2.4", "::1", "192.168.0.1"):
        with pytest.raises(AddressNotAllowedError):
            policy.check(address)


@pytest.mark.parametrize("host", ["8.8.8.8", "127.0.0.1", "2606:4700::1111", "::1", "::ffff:7f00:1", "fe80::1%25lo"])
def test_literal_addresses_are_refused_public_ones_too(host: str) -> None:
    with pytest.raises(AddressNotAllowedError, match=r"literal address .* is not in download.allow_addresses"):
        PUBLIC_ONLY.check_host(host)


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f.1", "0x7f000001", "0X7F000001", "127.1", "0177.0.0.1", "127.0.0.1.", "1.2.3.4.5", "a.0x", "9"],
)
def test_addresses_in_disguise_are_refused_even_in_allowed_networks(host: str) -> None:
    with pytest.raises(AddressNotAllowedError, match="in disguise"):
        AddressPolicy(allowed=parse_networks(["0.0.0.0/0"])).check_host(host)


@pytest.mark.parametrize(
    "host", ["example.com", "1e100.net", "a.b2", "xn--mnchen-3ya.de", "0x7f.example.com", "3.cdn.net."]
)
def test_host_names_pass(host: str) -> None:
    PUBLIC_ONLY.check_host(host)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["{}", "0x{:x}", "0{:o}"]))
def test_no_spelling_of_an_ipv4_number_passes(number: int, spelling: str) -> None:
    with pytest.raises(AddressNotAllowedError):
        PUBLIC_ONLY.check_host(spelling.format(number))


def test_demo_hosts_lead_to_the_sites_port() -> None:
    assert resolve("a.demo.test", sites={"a.demo.test": 4711}) == [("127.0.0.1", 4711)]
    assert resolve("a.demo.test.", sites={"a.demo.test": 4711}) == [("127.0.0.1", 4711)]


@pytest.mark.parametrize("host", ["b.demo.test", "elsewhere.test", "elsewhere.test."])
def test_other_test_hosts_do_not_resolve_and_nobody_is_asked(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: asked.append(args))
    with pytest.raises(OSError, match="no such demo site"):
        resolve(host, sites={"a.demo.test": 4711})
    assert not asked


def test_a_name_that_leads_inside_is_refused() -> None:
    with pytest.raises(AddressNotAllowedError):
        resolve("localhost")
    assert ("127.0.0.1", 80) in resolve("localhost", AddressPolicy(allowed=parse_networks(["127.0.0.0/8", "::1"])))


def test_a_name_that_leads_inside_too_is_not_trusted_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 80)) for host in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    with pytest.raises(AddressNotAllowedError, match=r"10\.0\.0\.1"):
        resolve("rebinding.example.com")


def test_a_host_that_can_be_no_name_does_not_resolve() -> None:
    with pytest.raises(OSError, match="not a host name"):
        resolve("a" * 64 + ".example.com")


@pytest.mark.parametrize("text", ["127.0.0.1/8", "localhost", "10.0.0.0/33", ""])
def test_text_that_is_no_network_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"allow_addresses: .*write for example 127\.0\.0\.0/8"):
        parse_networks([text])
