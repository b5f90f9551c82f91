"""Clients that come through a proxy which tells their address (PROXY protocol, both ways)."""

from __future__ import annotations

import socket
from typing import NamedTuple

from culvert.config.model import Service
from culvert.config.table.proxying import UNIX
from culvert.negotiate import proxy
from culvert.negotiate.proxy_header import Header, Place, receive
from culvert.negotiate.registry import Begin, Terms
from culvert.negotiate.steps import Host, Outcome, Peer, Script
from culvert.net import addresses
from culvert.net.networks import Networks, host_of


class Told(NamedTuple):
    """What a header told of a client: its packed struct sockaddr, and the address that it came to."""

    client: bytes
    destination: Host


class Proxies:
    """The peers of one service whose headers are believed."""

    def __init__(self, service: Service) -> None:
        self._networks = Networks(each for each in service.proxy_from if not isinstance(each, str))
        self._local = UNIX in service.proxy_from

    def trust(self, peer: bytes) -> bool:
        """Whether a peer, a packed struct sockaddr, has to begin with a header."""
        host = host_of(peer)
        return self._networks.has(host) if host else self._local

    @staticmethod
    def hear(_terms: Terms) -> Script:
        """Take the header of a peer, which is what the outcome remembers."""
        return Outcome(memory=(yield from receive(Peer.NEAR)))

    def told(self, header: object) -> Told | None:
        """What a header says; None where the proxy speaks for itself."""
        if not isinstance(header, Header) or header.pair is None:
            return None
        host, port = header.pair.destination
        return Told(_packed(header.pair.source), (host, port))


def proxies_of(service: Service) -> Proxies | None:
    """The peers that a service trusts, None when it trusts nobody."""
    return Proxies(service) if service.proxy_from else None


def introduction_of(service: Service) -> Begin | None:
    """What is said to the far end before anything else, None for nothing."""
    scripts = {"v1": proxy.tell_version_1, "v2": proxy.tell_version_2}
    return scripts.get(service.proxy_protocol or "")


def _packed(place: Place) -> bytes:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    rest = (0, 0) if family == socket.AF_INET6 else ()
    return addresses.endpoint(family, (place.host, place.port, *rest)).packed
