"""Names and numbers of the configuration to socket addresses, and socket addresses to the text of a log line.

Two forms of an address live here.  `Endpoint.sockaddr` is what Python's socket module takes;
`Endpoint.packed` is the C structure (sockaddr_in, sockaddr_in6, sockaddr_un) that the engine hands to the
kernel without another conversion.

A blocking look-up (`resolve`) is for the start and the reload, when no tunnel waits for the process.  A
running worker only uses `resolve_in_thread`, which asks the resolver in a thread of the loop's pool.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

from culvert.config.values import Address
from culvert.errors import SystemRefusal

PATH_BYTES = 107
"""Longest Unix socket path in bytes: sun_path has 108 on Linux, and the last is a NUL (unix(7))."""

RETRIES_WHEN_BUSY = 3
RETRY_SECONDS = 1.0
"""How often, and how long apart, a resolver that says "try again" is asked again."""

_IPV4 = struct.Struct("=H2s4s8x")  # sin_family, sin_port, sin_addr, padding
_IPV6 = struct.Struct("=H2s4s16sI")  # sin6_family, sin6_port, sin6_flowinfo, sin6_addr, sin6_scope_id
_FAMILY = struct.Struct("=H")


class Endpoint(NamedTuple):
    """One socket address, in each of the forms in which it is used."""

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int] | str
    packed: bytes  # struct sockaddr_in, sockaddr_in6 or sockaddr_un, as long as it is filled
    text: str  # host:port, an IPv6 host without brackets; localhost:/path for a Unix socket

    def with_port(self, port: int) -> Endpoint:
        """The same host with another port; for a port that the kernel chose."""
        if isinstance(self.sockaddr, str):
            return self
        return endpoint(self.family, (self.sockaddr[0], port, *self.sockaddr[2:]))


def endpoint(family: int, sockaddr: object) -> Endpoint:
    """Complete an address as socket.getsockname() or getaddrinfo() gave it, or `@name` of an abstract socket.

    Raises SystemRefusal for a family that Culvert does not carry and for a Unix path that does not fit.
    """
    if family == socket.AF_UNIX and isinstance(sockaddr, bytes):  # an abstract name (unix(7))
        sockaddr = os.fsdecode(sockaddr)
    elif family == socket.AF_UNIX and isinstance(sockaddr, str) and sockaddr.startswith("@"):
        sockaddr = f"\0{sockaddr[1:]}"
    packed = _pack(family, sockaddr)
    return Endpoint(family, sockaddr, packed, unpack(packed))  # type: ignore[arg-type]


def of_socket(sock: socket.socket) -> Endpoint:
    """The address a socket is bound to."""
    return endpoint(sock.family, sock.getsockname())


def numeric(packed: bytes) -> tuple[str, int] | None:
    """Address and port of a struct sockaddr as numbers; None when it is no IP address."""
    (family,) = _FAMILY.unpack_from(packed)
    if family == socket.AF_INET:
        _, port, host = _IPV4.unpack_from(packed)
        return socket.inet_ntop(family, host), int.from_bytes(port, "big")
    if family == socket.AF_INET6:
        _, port, _, host, _ = _IPV6.unpack_from(packed)
        return socket.inet_ntop(family, host), int.from_bytes(port, "big")
    return None


def unpack(packed: bytes) -> str:
    """The text of a struct sockaddr, as in log lines: `host:port`, `localhost:/path`, `unnamed socket`."""
    (family,) = _FAMILY.unpack_from(packed)
    if family == socket.AF_INET:
        _, port, host = _IPV4.unpack_from(packed)
        return f"{socket.inet_ntop(family, host)}:{int.from_bytes(port, 'big')}"
    if family == socket.AF_INET6:
        _, port, _, host, scope = _IPV6.unpack_from(packed)
        return f"{socket.inet_ntop(family, host)}{_scope_text(scope)}:{int.from_bytes(port, 'big')}"
    path = packed[_FAMILY.size :]
    if path[:1] == b"\0" and len(path) > 1:
        return f"localhost:@{os.fsdecode(path[1:])}"
    path = path.split(b"\0", 1)[0]
    return f"localhost:{os.fsdecode(path)}" if path else "unnamed socket"


def _scope_text(scope: int) -> str:
    if not scope:
        return ""
    try:
        return f"%{socket.if_indextoname(scope)}"
    except OSError:  # the interface is gone
        return f"%{scope}"


def _pack(family: int, sockaddr: object) -> bytes:
    match sockaddr:
        case (str(host), int(port)) if family == socket.AF_INET:
            return _IPV4.pack(family, port.to_bytes(2, "big"), socket.inet_pton(family, host))
        case (str(host), int(port), int(flow), int(scope)) if family == socket.AF_INET6:
            number = socket.inet_pton(family, host.partition("%")[0])
            return _IPV6.pack(family, port.to_bytes(2, "big"), flow.to_bytes(4, "big"), number, scope)
        case str(path) if family == socket.AF_UNIX:
            return _FAMILY.pack(family) + _path_bytes(path)
    raise SystemRefusal(f"Address {sockaddr!r}", "Address family not supported")


def _path_bytes(path: str) -> bytes:
    if not path:
        return b""
    encoded = os.fsencode(path)
    if len(encoded) > PATH_BYTES:
        raise SystemRefusal(f'Unix socket "{path}"', "Unix socket path is too long")
    if encoded[:1] == b"\0":  # an abstract name: it has no end but that of the structure
        return encoded
    if b"\0" in encoded:
        raise SystemRefusal(f"Unix socket {path!r}", "Unix socket path has a NUL byte")
    return encoded + b"\0"


# Resolving ------------------------------------------------------------------------------------------


def resolve(address: Address, *, passive: bool) -> tuple[Endpoint, ...]:
    """All socket addresses of a configured address, in the resolver's order and without repetitions; blocks.

    passive: the address is to be listened on, so that a missing host means every interface and not loopback.
    Raises SystemRefusal: `Unknown TCP service "X"`, `Error resolving "HOST"`, a Unix path that does not fit.
    """
    if address.path is not None:
        return (endpoint(socket.AF_UNIX, address.path),)
    host, port = _host(address), _port(address)
    pauses = _pauses()
    while True:
        try:
            return _look_up(host, port, passive)
        except _ResolverBusy as busy:
            _pause_or_give_up(pauses, busy)
            time.sleep(RETRY_SECONDS)


async def resolve_in_thread(address: Address) -> tuple[Endpoint, ...]:
    """What resolve(address, passive=False) gives, found without holding up the running loop.

    A numeric host is not given to a thread.  Raises SystemRefusal like resolve().
    """
    if address.path is not None or is_numeric(_host(address)):
        return resolve(address, passive=False)
    host, port = _host(address), _port(address)
    pauses = _pauses()
    while True:
        try:
            return await asyncio.get_running_loop().run_in_executor(None, _look_up, host, port, False)
        except _ResolverBusy as busy:
            _pause_or_give_up(pauses, busy)
            await asyncio.sleep(RETRY_SECONDS)


class _ResolverBusy(Exception):
    """EAI_AGAIN: the name server did not answer; `refusal` is what to say when it goes on so."""

    def __init__(self, refusal: SystemRefusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


def _pauses() -> Iterator[int]:
    return iter(range(RETRIES_WHEN_BUSY))


def _pause_or_give_up(pauses: Iterator[int], busy: _ResolverBusy) -> None:
    if next(pauses, None) is None:
        raise busy.refusal


def _look_up(host: str | None, port: int, passive: bool) -> tuple[Endpoint, ...]:
    """One question to the resolver, and the same without AI_ADDRCONFIG when that found nothing.

    AI_ADDRCONFIG leaves out families that no interface but loopback has: right for a name with both kinds of
    addresses, wrong for `::1` on a machine without IPv6 outside.
    """
    flags = socket.AI_PASSIVE if passive else 0
    try:
        found = _ask(host, port, flags | socket.AI_ADDRCONFIG)
    except OSError:
        try:
            found = _ask(host, port, flags)
        except (OSError, UnicodeError) as error:
            raise _refused(host, error) from error
    except UnicodeError as error:  # a label that is empty or too long for IDNA
        raise _refused(host, error) from error
    return tuple(dict.fromkeys(found))


def _ask(host: str | None, port: int, flags: int) -> list[Endpoint]:
    answers = socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM, 0, flags)
    return [endpoint(family, sockaddr) for family, _, _, _, sockaddr in answers]


def _refused(host: str | None, error: OSError | UnicodeError) -> SystemRefusal | _ResolverBusy:
    doing = f'Error resolving "{host or ""}"'
    if isinstance(error, UnicodeError):
        return SystemRefusal(doing, "Not a host name")
    refusal = SystemRefusal(doing, error.strerror or str(error))
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return _ResolverBusy(refusal)
    return refusal


def _host(address: Address) -> str | None:
    """The host without the brackets that stunnel does not know and people write all the same."""
    host = address.host
    if host and host[0] == "[" and host[-1] == "]":
        return host[1:-1]
    return host or None


def is_numeric(host: str | None) -> bool:
    """Whether a host needs no look-up; none at all is a wildcard or loopback."""
    if host is None:
        return True
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


def _port(address: Address) -> int:
    """The port number of a number or of a name in /etc/services."""
    text = address.port or ""
    if text.isascii() and text.isdecimal() and int(text) <= 0xFFFF:
        return int(text)
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, UnicodeError) as error:
        raise SystemRefusal(f'Unknown TCP service "{text}"', "not in the services database") from error
