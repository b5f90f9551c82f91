"""Addresses passed through (`transparent`): connecting from the client's address, and to the one it meant.

Linux only.  A foreign source address needs IP_TRANSPARENT on the socket (CAP_NET_ADMIN, ip(7)) and routes
that bring the answers back here.  The destination that a client meant is kept by the connection tracking
where a rule changed it (REDIRECT, DNAT), and is simply the own address of the connection where none did
(TPROXY).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import Final

from culvert.errors import SystemRefusal
from culvert.net import addresses
from culvert.net.addresses import Endpoint
from culvert.net.networks import host_of
from culvert.net.sockets import Compiled

# Linux' numbers; Python's socket module does not name them in every release.
_IP_TRANSPARENT: Final = 19  # <linux/in.h>
_IPV6_TRANSPARENT: Final = 75  # <linux/in6.h>
_SO_ORIGINAL_DST: Final = 80  # <linux/netfilter_ipv4.h>, and IP6T_SO_ORIGINAL_DST
_SOCKADDR_OCTETS: Final = 28  # struct sockaddr_in6
_ON: Final = struct.pack("i", 1)

_UNPRIVILEGED: Final = 1024
"""Ports below are not used for a client that came from one; a program may believe in them."""

_OPTIONS: Final[dict[int, Compiled]] = {
    socket.AF_INET: ((socket.IPPROTO_IP, _IP_TRANSPARENT, _ON),),
    socket.AF_INET6: ((socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, _ON),),
}


def options(family: int) -> Compiled:
    """What a socket of a family needs to have a foreign address."""
    return _OPTIONS.get(family, ())


def probe() -> None:
    """Raises SystemRefusal when this process may not have foreign addresses."""
    with socket.socket(socket.AF_INET) as sock:
        try:
            sock.setsockopt(*options(socket.AF_INET)[0])
        except OSError as error:
            raise SystemRefusal.of("setsockopt IP_TRANSPARENT", error) from error


def permit(sock: socket.socket) -> None:
    """Let a listening socket take connections that TPROXY leads to it, where this process may do that."""
    for each in options(sock.family):
        try:
            sock.setsockopt(*each)
        except OSError:  # REDIRECT and DNAT work without
            return


def sources(client: bytes, family: int) -> tuple[bytes, ...]:
    """The packed addresses to connect from, best first; none when the client's is of another family.

    The second has any port: another connection may have the first one already.
    """
    host = host_of(client)
    if len(host) != (4 if family == socket.AF_INET else 16 if family == socket.AF_INET6 else 0) or not host:
        return ()
    text = socket.inet_ntop(family, host)
    port = int.from_bytes(client[2:4], "big")
    ports = (port, 0) if port >= _UNPRIVILEGED else (0,)
    scope = client[24:28] if family == socket.AF_INET6 and len(client) >= _SOCKADDR_OCTETS else bytes(4)
    return tuple(addresses.endpoint(family, _sockaddr(family, text, each, scope)).packed for each in ports)


def _sockaddr(family: int, host: str, port: int, scope: bytes) -> tuple[object, ...]:
    if family == socket.AF_INET:
        return (host, port)
    return (host, port, 0, *struct.unpack("=I", scope))


def original_destination(sock: socket.socket, accepting: Sequence[int]) -> Endpoint:
    """Where the client of an accepted connection meant to go.

    accepting: the ports of this service; a client that came to one of them by itself would be led back here
    for ever.  Raises SystemRefusal.
    """
    if sock.family not in _OPTIONS:
        raise SystemRefusal("getsockopt SO_ORIGINAL_DST", "a Unix socket has no other destination")
    own = addresses.of_socket(sock)
    found = _tracked(sock) or own
    if found.packed == own.packed and int(found.sockaddr[1]) in accepting and _is_ours(found):
        raise SystemRefusal("getsockopt SO_ORIGINAL_DST", "the client meant this service itself")
    return found


def _tracked(sock: socket.socket) -> Endpoint | None:
    """What the connection tracking remembers, None where it has nothing."""
    levels = [socket.IPPROTO_IP, socket.IPPROTO_IPV6]
    if sock.family == socket.AF_INET6 and len(host_of(addresses.of_socket(sock).packed)) == 16:
        levels.reverse()
    for level in levels:
        try:
            return _endpoint(sock.getsockopt(level, _SO_ORIGINAL_DST, _SOCKADDR_OCTETS))
        except OSError:
            continue
    return None


def _endpoint(packed: bytes) -> Endpoint:
    (family,) = struct.unpack_from("=H", packed)
    port = int.from_bytes(packed[2:4], "big")
    if family == socket.AF_INET:
        return addresses.endpoint(family, (socket.inet_ntop(family, packed[4:8]), port))
    return addresses.endpoint(family, (socket.inet_ntop(family, packed[8:24]), port, 0, 0))


def _is_ours(found: Endpoint) -> bool:
    """Whether this machine has the address."""
    with socket.socket(found.family) as probe:
        try:
            probe.bind(found.with_port(0).sockaddr)
        except OSError:
            return False
    return True
