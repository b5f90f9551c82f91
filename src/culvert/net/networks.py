"""Sets of IP networks, asked with a packed struct sockaddr.

Networks of one prefix length are one set of numbers, so a list of ten thousand costs as many look-ups as
there are different lengths in it.  IPv4 addresses that come through an IPv6 socket (`::ffff:192.0.2.1`) are
IPv4 addresses here.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

_FAMILY: Final = struct.Struct("=H")
_MAPPED: Final = bytes(10) + b"\xff\xff"


def host_of(packed: bytes) -> bytes:
    """The address within a struct sockaddr: 4 octets of IPv4, 16 of IPv6, none for any other family."""
    (family,) = _FAMILY.unpack_from(packed)
    if family == socket.AF_INET:
        return packed[4:8]
    if family != socket.AF_INET6:
        return b""
    host = packed[8:24]
    return host[12:] if host.startswith(_MAPPED) else host


class Networks:
    """A set of networks."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        found: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            unset = network.max_prefixlen - network.prefixlen
            place = (len(network.network_address.packed), unset)
            found.setdefault(place, set()).add(int(network.network_address) >> unset)
        self._by_length = [(size, unset, frozenset(numbers)) for (size, unset), numbers in found.items()]

    def __bool__(self) -> bool:
        return bool(self._by_length)

    def has(self, host: bytes) -> bool:
        """Whether an address as host_of() gives it is in one of them."""
        number = int.from_bytes(host, "big")
        return any(
            size == len(host) and number >> unset in numbers for size, unset, numbers in self._by_length
        )
