"""What rules ask of a connection; names and users are looked up when a rule needs them.  Blocks."""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
from dataclasses import dataclass
from typing import Final

from culvert.errors import PeerError
from culvert.net import identification
from culvert.net.networks import host_of

UNKNOWN: Final = "unknown"
PARANOID: Final = "paranoid"

IDENT_SECONDS: Final = 10.0
"""How long a user is asked for, as in the library."""


@dataclass(frozen=True)
class Request:
    """A connection: the service's name, and the packed addresses of both of its ends.

    client_name, user: what is known beforehand, and not looked up; for tests.
    """

    daemon: str
    client: bytes
    server: bytes
    client_name: str | None = None
    user: str | None = None


class Host:
    """One end: its address, its name, its port."""

    def __init__(self, packed: bytes, name: str | None = None) -> None:
        self._host = host_of(packed)
        self.port = int.from_bytes(packed[2:4], "big")
        if name is not None:
            self.__dict__["name"] = name

    @functools.cached_property
    def address(self) -> str:
        if not self._host:
            return UNKNOWN
        return socket.inet_ntop(self._family, self._host)

    @property
    def _family(self) -> int:
        return socket.AF_INET if len(self._host) == 4 else socket.AF_INET6

    @functools.cached_property
    def name(self) -> str:
        """The name that the address has and that has the address; `paranoid` when they do not agree."""
        if not self._host:
            return UNKNOWN
        try:
            name, _ = socket.getnameinfo((self.address, 0), socket.NI_NAMEREQD)
        except OSError:
            return UNKNOWN
        if _is_numeric(name):  # somebody's reverse zone pretends to be an address
            return PARANOID
        return name if self._confirmed(name) else PARANOID

    def _confirmed(self, name: str) -> bool:
        try:
            found = socket.getaddrinfo(name, None, self._family, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)
        except (OSError, UnicodeError):
            return False
        canonical = found[0][3].lower()
        if canonical not in (name.lower(), "localhost"):
            return False
        return any(str(each[4][0]).partition("%")[0] == self.address for each in found)

    @property
    def name_is_known(self) -> bool:
        return self.name.lower() not in (UNKNOWN, PARANOID)


class Facts:
    """All of a request."""

    def __init__(self, request: Request) -> None:
        self.daemon = request.daemon
        self.client = Host(request.client, request.client_name)
        self.server = Host(request.server)
        self._request = request

    @functools.cached_property
    def user(self) -> str:
        """Who owns the connection, as the client's host says (RFC 1413)."""
        request = self._request
        if request.user is not None:
            return request.user
        if not host_of(request.client) or not host_of(request.server):
            return UNKNOWN
        with contextlib.suppress(OSError, PeerError, struct.error):
            return self._ask_host() or UNKNOWN
        return UNKNOWN

    def _ask_host(self) -> str:
        place = (self.client.address, identification.SERVICE[1])
        source = (self.server.address, 0)
        with socket.create_connection(place, IDENT_SECONDS, source_address=source) as sock:
            sock.sendall(identification.question(self.client.port, self.server.port))
            reply = b""
            while b"\n" not in reply and len(reply) <= identification.REPLY_OCTETS:
                data = sock.recv(identification.REPLY_OCTETS)
                if not data:
                    break
                reply += data
        return identification.user_of(reply, self.client.port, self.server.port)


def _is_numeric(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True
