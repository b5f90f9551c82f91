"""Which addresses a client may choose as its destination (SOCKS, CONNECT).

Theory of operation.  Every network of the rules has a verdict, and **the most specific network that holds the
address decides**; where two are equally long, `deny` goes before `allow`, and `allow` before what is
refused by default.  So `allow = 0.0.0.0/0` does not open loopback, `allow = 127.0.0.1` does; and `deny =
0.0.0.0/0` with `allow = 10.1.0.0/16` leads to that network only.

By default nothing is refused but what leads back to this machine or to its own link: loopback, "this host",
link-local, multicast, and each address that the kernel's routing table calls its own.  An IPv6 address that
carries an IPv4 address (mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP) is judged as both.

What is judged is the number that will be connected to, never a name.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from culvert.net.addresses import Endpoint
from culvert.net.routes import leads_away

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Number = ipaddress.IPv4Address | ipaddress.IPv6Address

_REFUSED: Final = (
    "0.0.0.0/8",  # this host on this network, RFC 1122, 3.2.1.3; Linux connects it to loopback
    "127.0.0.0/8",
    "169.254.0.0/16",  # link-local, RFC 3927; also where clouds keep their secrets
    "224.0.0.0/4",
    "255.255.255.255/32",
    "::/128",
    "::1/128",
    "fe80::/10",
    "ff00::/8",
)
# By the prefix of the network, the higher goes before; see the theory above.
_DEFAULT, _ALLOW, _DENY = 0, 1, 2

# Prefixes of addresses that end in an IPv4 address, and what they are.
_ENDING_IN_IPV4: Final = tuple(
    ipaddress.IPv6Network(each)
    for each in (
        "::/96",  # IPv4-compatible, RFC 4291, 2.5.5.1
        "::ffff:0:0/96",  # IPv4-mapped, 2.5.5.2
        "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765, 2.1
        "64:ff9b::/96",  # NAT64, RFC 6052, 2.1
        "64:ff9b:1::/48",  # NAT64 of a network of its own, RFC 8215
    )
)
_ISATAP: Final = frozenset((0x00005EFE, 0x02005EFE))  # RFC 5214, 6.1


class Destinations:
    """The rules of one service."""

    def __init__(
        self,
        allow: Iterable[Network] = (),
        deny: Iterable[Network] = (),
        away: Callable[[int, bytes], bool] = leads_away,
    ) -> None:
        """away: asks whether an address is of another machine."""
        self._away = away
        ranked = ((_DEFAULT, map(ipaddress.ip_network, _REFUSED)), (_ALLOW, allow), (_DENY, deny))
        self._rules = tuple((network, rank) for rank, networks in ranked for network in networks)

    def refusal(self, endpoint: Endpoint) -> str | None:
        """Why nobody may be led to this address, or None when that is fine.

        Asks the kernel, without waiting.  A kernel that does not answer is a reason.
        """
        if endpoint.family not in (socket.AF_INET, socket.AF_INET6):
            return "not an IP address"
        host = str(endpoint.sockaddr[0]).partition("%")[0]
        for number in _readings(ipaddress.ip_address(host)):
            if reason := self._judge(number):
                return reason
        return None

    def _judge(self, number: Number) -> str | None:
        holding = [rule for rule in self._rules if rule[0].version == number.version and number in rule[0]]
        if not holding:
            return self._own(number)
        network, rank = max(holding, key=lambda rule: (rule[0].prefixlen, rule[1]))
        if rank == _DENY:
            return f"{network} is denied"
        if rank == _DEFAULT:
            return f"{network} is not open to clients"
        if network.prefixlen == number.max_prefixlen or any(rank == _DEFAULT for _, rank in holding):
            return None  # it was named alone, or as a part of what is refused by default
        return self._own(number)

    def _own(self, number: Number) -> str | None:
        family = socket.AF_INET if number.version == 4 else socket.AF_INET6
        try:
            return None if self._away(family, number.packed) else "an address of this machine"
        except OSError as error:
            return f"the kernel does not say whose it is: {error}"


def _readings(number: Number) -> Iterator[Number]:
    """The address, and the IPv4 addresses that it stands for."""
    if isinstance(number, ipaddress.IPv4Address):
        yield number
        return
    if number.ipv4_mapped is None:  # the kernel takes a mapped one for IPv4 and nothing else
        yield number
    value = int(number)
    if any(number in network for network in _ENDING_IN_IPV4) and value > 1:
        yield ipaddress.IPv4Address(value & 0xFFFFFFFF)
    if (value >> 32) & 0xFFFFFFFF in _ISATAP:
        yield ipaddress.IPv4Address(value & 0xFFFFFFFF)
    if number.sixtofour is not None:
        yield number.sixtofour
    if number.teredo is not None:
        yield from number.teredo
