"""Which addresses a URL may lead to: nothing private, loopback or link-local unless allow-listed."""

import dataclasses
import ipaddress
import re
import socket
from collections.abc import Sequence

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ENDS_IN_NUMBER = re.compile(r"(^|\.)([0-9]+|0x[0-9a-f]*)$", re.IGNORECASE)
"""What the URL standard takes for an IPv4 address: 2130706433, 0x7f.1, 127.1 and 0177.0.0.1 too."""


class AddressNotAllowedError(Exception):
    """A host leads to an address the policy refuses. Not an OSError, so that no library takes it for a passing one."""


_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/23", "2002::/16", "fec0::/10")
)
"""Networks of protocols and tunnels. Releases of Python differ in which of them they call global."""


_OTHER_PORTS = frozenset(
    int(number)
    for number in (
        "1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 "
        "123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 "
        "990 993 995 1719 1720 1723 2049 3659 4045 4190 5060 5061 6000 6566 6665 6666 6667 6668 6669 6679 6697 10080"
    ).split()
)
"""Ports of other protocols than HTTP, to whose servers a request could be made to speak (WHATWG Fetch, 2.9)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddressPolicy:
    """What may be connected to."""

    allowed: Sequence[Network]
    """Networks allowed although not public, literal addresses in them too."""

    def check(self, address: str) -> None:
        """Does nothing for an address that may be connected to.

        Raises:
            AddressNotAllowedError: for any other.
        """
        parsed = _parsed(address)
        if parsed is None:
            raise AddressNotAllowedError(f"{address} is not an address")
        if not self._allows(parsed) and not _is_public(parsed):
            raise AddressNotAllowedError(f"{address} is not a public address; allow it in download.allow_addresses")

    def check_host(self, host: str) -> None:
        """Does nothing for a host name; a literal address must be allow-listed.

        Args:
            host: as it goes to the resolver (yarl's `raw_host`): other spellings of digits and dots are folded there.

        Raises:
            AddressNotAllowedError: for a literal address outside the allow-list, and for any in a form other than the
                plain one, which resolvers read differently.
        """
        parsed = _parsed(host)
        if parsed is None and _ENDS_IN_NUMBER.search(host.rstrip(".")):
            raise AddressNotAllowedError(f"{host} is an address in disguise")
        if parsed is not None and not self._allows(parsed):
            raise AddressNotAllowedError(f"literal address {host} is not in download.allow_addresses")

    def check_port(self, port: int | None) -> None:
        """Does nothing for a port where a web server may live: any but those of other protocols.

        Raises:
            AddressNotAllowedError: for any other.
        """
        if port in _OTHER_PORTS or port == 0:
            raise AddressNotAllowedError(f"port {port} is one of another protocol than HTTP")

    def _allows(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self.allowed)


class CheckedResolver(AbstractResolver):
    """Resolves host names for aiohttp to addresses the policy allows; the connection goes to what was checked."""

    def __init__(self, policy: AddressPolicy, sites: dict[str, int]) -> None:
        """Takes the policy and {host name: loopback port} of the demo's own sites."""
        self._policy, self._sites = policy, sites
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Returns the addresses of a host name.

        Raises:
            AddressNotAllowedError: if any of them is refused: a name that also points inside is not trusted at all.
            OSError: if the name does not resolve.
        """
        name = host.rstrip(".")
        if name in self._sites:
            return [_loopback(host, self._sites[name])]
        if name.endswith(".test"):  # reserved for tests: no resolver may be asked
            raise OSError(f"{host}: no such demo site")
        try:
            found = await self._system.resolve(host, port, family)
        except UnicodeError as error:  # a label too long for the name system
            raise OSError(f"{host}: not a host name ({error})") from None
        for result in found:
            self._policy.check(result["host"])
        return found

    async def close(self) -> None:
        """Closes the system's resolver."""
        await self._system.close()


def parse_networks(texts: Sequence[str]) -> list[Network]:
    """Returns the networks written as 127.0.0.0/8, ::1 or 10.1.2.3.

    Raises:
        ValueError: for text that is not a network, naming it.
    """
    try:
        return [ipaddress.ip_network(text) for text in texts]
    except ValueError as error:
        raise ValueError(f"allow_addresses: {error}; write for example 127.0.0.0/8") from None


def _parsed(text: str) -> Address | None:
    """Returns the address, an IPv4 one in IPv6 clothes as the IPv4 one it leads to; None for other text."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _is_public(address: Address) -> bool:
    site_local = getattr(address, "is_site_local", False)
    if address.is_multicast or address.is_reserved or site_local or not address.is_global:
        return False
    return not any(address.version == network.version and address in network for network in _SPECIAL)


def _loopback(host: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
    )
