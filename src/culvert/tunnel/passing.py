"""A service that passes addresses through (`transparent`): its far end from the client's view."""

from __future__ import annotations

import socket

from culvert.config.model import Service
from culvert.config.values import Address
from culvert.engine import Carrier, SocketOptions
from culvert.errors import ConfigError, SystemRefusal
from culvert.net import addresses, sockets, transparent
from culvert.net.addresses import Endpoint
from culvert.tunnel.gate import accepted_socket


class Passing:
    """What `transparent` asks for; made before the fork.

    from_client: connect from the client's address.  to_meant: connect to where the client meant to go.
    """

    def __init__(self, service: Service) -> None:
        self.from_client = service.transparent in ("source", "both") and service.local is None
        self.to_meant = service.transparent in ("destination", "both")
        options = sockets.compile(service.socket, "r")
        self._options: dict[int, SocketOptions] = {
            family: SocketOptions((*options, *transparent.options(family)))
            for family in (socket.AF_INET, socket.AF_INET6)
        }
        self._ports = [_port(each) for address in service.accept for each in _listened(address)]

    def options(self, endpoint: Endpoint) -> SocketOptions:
        """The options of a socket that has the client's address."""
        return self._options[endpoint.family]

    def meant(self, carrier: Carrier) -> Endpoint:
        """Where the client meant to go.  Raises SystemRefusal."""
        with accepted_socket(carrier) as sock:
            return transparent.original_destination(sock, self._ports)


def passing(service: Service) -> Passing | None:
    """What a service passes through; None when it is nothing.

    Raises ConfigError when this process may not.
    """
    if service.transparent == "none":
        return None
    made = Passing(service)
    if made.from_client:
        try:
            transparent.probe()
        except SystemRefusal as refusal:
            raise ConfigError(service.where("transparent"), "transparent", str(refusal)) from refusal
    return made


def _listened(address: Address) -> tuple[Endpoint, ...]:
    try:
        return addresses.resolve(address, passive=True)
    except SystemRefusal:  # told when it is bound
        return ()


def _port(endpoint: Endpoint) -> int:
    return 0 if isinstance(endpoint.sockaddr, str) else endpoint.sockaddr[1]
