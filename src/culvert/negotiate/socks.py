"""SOCKS inside TLS: a server of versions 4, 4a and 5 (RFC 1928), and a client of version 5.

The server's success goes out when the destination is connected, not before: a client of SOCKS has to know.
There is no authentication in SOCKS here; certificates of TLS say who somebody is.  BIND and UDP ASSOCIATE do
not exist.  RESOLVE (0xF0) is Tor's: https://spec.torproject.org/socks-extensions.html.
"""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

from culvert.negotiate.destination import Forbidden, Unknown, Wanted, choose
from culvert.negotiate.failures import NegotiationFailed, OrderlyEnd, UnexpectedReply
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import (
    NOTHING,
    Fact,
    Host,
    Outcome,
    Peer,
    Script,
    Talk,
    exactly,
    learn,
    note,
    send,
    until,
)

_CONNECT, _RESOLVE = 0x01, 0xF0
_TEXT_MAX: Final = 256  # a user id or a host name and its end
_INFO, _ERR = 6, 3

# Version 4.
_GRANTED, _REJECTED = 0x5A, 0x5B

# Version 5, RFC 1928, 3 to 6.
_NO_AUTHENTICATION, _NO_METHOD = 0x00, 0xFF
_IPV4, _NAME, _IPV6 = 0x01, 0x03, 0x04
_SUCCEEDED, _GENERAL, _NOT_ALLOWED, _HOST_UNREACHABLE = 0x00, 0x01, 0x02, 0x04
_NO_COMMAND, _NO_ADDRESS_TYPE = 0x07, 0x08
_REPLIES: Final = {
    1: "General SOCKS server failure",
    2: "Connection not allowed by ruleset",
    3: "Network unreachable",
    4: "Host unreachable",
    5: "Connection refused",
    6: "TTL expired",
    7: "Command not supported",
    8: "Address type not supported",
}


class _Request(NamedTuple):
    """A request, and the octets that its answer repeats."""

    version: int
    command: int
    wanted: Wanted
    echoed: bytes

    def answer(self, code: int, resolved: bytes = b"") -> bytes:
        """The answer to the client; resolved: the number that RESOLVE asked for."""
        if self.version == 4:
            return bytes((0, code)) + (self.echoed[:2] + resolved if resolved else self.echoed)
        if len(resolved) in (4, 16):
            kind = _IPV4 if len(resolved) == 4 else _IPV6
            return bytes((5, code, 0, kind)) + resolved + self.echoed[-2:]
        return bytes((5, code, 0)) + self.echoed


# Server ---------------------------------------------------------------------------------------------------


def server(_terms: Terms) -> Script:
    """Take a request, look its destination up and judge it; the answer is left for the other script."""
    version = (yield from exactly(Peer.NEAR, 1))[0]
    if version not in (4, 5):
        raise NegotiationFailed(f"Unsupported SOCKS version 0x{version:02x}")
    request = yield from (_request_4() if version == 4 else _request_5())
    yes, no, refused = (
        (_GRANTED, _REJECTED, _REJECTED) if version == 4 else (0, _HOST_UNREACHABLE, _NOT_ALLOWED)
    )
    try:
        found = yield from choose(request.wanted)
    except (Unknown, Forbidden) as failure:
        yield from send(Peer.NEAR, request.answer(no if isinstance(failure, Unknown) else refused))
        raise OrderlyEnd(str(failure)) from None
    if request.command == _RESOLVE:
        yield from _answer_resolve(request, found, yes, no)
    return Outcome(found, memory=request.answer(yes))


def server_connected(_terms: Terms) -> Script:
    """Tell the client that its destination is connected."""
    yield from send(Peer.NEAR, (yield from learn(Fact.MEMORY)))
    return NOTHING


def server_unreachable(_terms: Terms) -> Script:
    """Tell the client that nobody is there."""
    granted: bytes = yield from learn(Fact.MEMORY)
    code = _REJECTED if granted[0] == 0 else _HOST_UNREACHABLE
    yield from send(Peer.NEAR, granted[:1] + bytes((code,)) + granted[2:])
    raise OrderlyEnd("")


def _answer_resolve(request: _Request, found: tuple[Host, ...], yes: int, no: int) -> Talk[None]:
    """Version 4 has room for IPv4 only."""
    numbers = [ipaddress.ip_address(host).packed for host, _port in found]
    usable = [each for each in numbers if request.version == 5 or len(each) == 4]
    answer = request.answer(yes, usable[0]) if usable else request.answer(no)
    yield from send(Peer.NEAR, answer)
    raise OrderlyEnd("SOCKS RESOLVE answered")


def _request_4() -> Talk[_Request]:
    command = (yield from exactly(Peer.NEAR, 1))[0]
    echoed = yield from exactly(Peer.NEAR, 6)
    yield from until(Peer.NEAR, b"\0", _TEXT_MAX)  # the user id says nothing that could be believed
    named = echoed[2:5] == b"\0\0\0" and echoed[5] != 0
    if command not in (_CONNECT, _RESOLVE) or (command == _RESOLVE and not named):
        yield from send(Peer.NEAR, bytes((0, _REJECTED)) + echoed)
        raise OrderlyEnd(f"Unsupported SOCKS4/SOCKS4a command 0x{command:02x}")
    port = int.from_bytes(echoed[:2], "big")
    if named:
        name = (yield from until(Peer.NEAR, b"\0", _TEXT_MAX))[:-1]
        return _Request(4, command, Wanted("SOCKS4a", name, port, False), echoed)
    return _Request(4, command, Wanted("SOCKS4", _text(echoed[2:]), port, True), echoed)


def _request_5() -> Talk[_Request]:
    yield from _method()
    version, command, _reserved, kind = yield from exactly(Peer.NEAR, 4)
    if version != 5:
        yield from _refuse(_GENERAL, f"Invalid SOCKS5 message version 0x{version:02x}")
    if command not in (_CONNECT, _RESOLVE):
        yield from _refuse(_NO_COMMAND, f"Unsupported SOCKS5 command 0x{command:02x}")
    if kind not in (_IPV4, _NAME, _IPV6):
        yield from _refuse(_NO_ADDRESS_TYPE, f"Unsupported SOCKS5 address type 0x{kind:02x}")
    if kind == _NAME:
        size = (yield from exactly(Peer.NEAR, 1))[0]
        name = yield from exactly(Peer.NEAR, size)
        port = yield from exactly(Peer.NEAR, 2)
        wanted = Wanted("SOCKS5", name, int.from_bytes(port, "big"), False)
        return _Request(5, command, wanted, bytes((_IPV4, 0, 0, 0, 0)) + port)
    number = yield from exactly(Peer.NEAR, 4 if kind == _IPV4 else 16)
    port = yield from exactly(Peer.NEAR, 2)
    what = "SOCKS5 IPv4" if kind == _IPV4 else "SOCKS5 IPv6"
    wanted = Wanted(what, _text(number), int.from_bytes(port, "big"), True)
    return _Request(5, command, wanted, bytes((kind,)) + number + port)


def _method() -> Talk[None]:
    count = (yield from exactly(Peer.NEAR, 1))[0]
    methods = yield from exactly(Peer.NEAR, count)
    if _NO_AUTHENTICATION not in methods:
        yield from send(Peer.NEAR, bytes((5, _NO_METHOD)))
        raise OrderlyEnd("No supported SOCKS5 authentication method received")
    yield from send(Peer.NEAR, bytes((5, _NO_AUTHENTICATION)))


def _refuse(code: int, reason: str) -> Talk[None]:
    yield from send(Peer.NEAR, bytes((5, code, 0, _IPV4)) + bytes(6))
    raise OrderlyEnd(reason)


def _text(number: bytes) -> bytes:
    return str(ipaddress.ip_address(number)).encode("ascii")


# Client ---------------------------------------------------------------------------------------------------


def client(terms: Terms) -> Script:
    """Ask for `protocolHost`, else for the address that the accepted connection was meant for."""
    request = _destination(terms.host) if terms.host else _original((yield from learn(Fact.ORIGINAL)))
    yield from send(Peer.FAR, bytes((5, 1, _NO_AUTHENTICATION)))
    version, method = yield from exactly(Peer.FAR, 2)
    if version != 5:
        raise OrderlyEnd(f"Invalid SOCKS5 message version 0x{version:02x}")
    if method != _NO_AUTHENTICATION:
        raise OrderlyEnd("No supported SOCKS5 authentication method received")
    yield from send(Peer.FAR, bytes((5, _CONNECT, 0)) + request)
    version, code, _reserved, kind = yield from exactly(Peer.FAR, 4)
    if version != 5:
        raise OrderlyEnd(f"Invalid SOCKS5 message version 0x{version:02x}")
    if code != _SUCCEEDED:
        raise OrderlyEnd(f"SOCKS5 request failed: {_REPLIES.get(code, f'Unknown error 0x{code:02x}')}")
    yield from _skip_bound_address(kind)
    yield from note(_INFO, "SOCKS5 request succeeded")
    return NOTHING


def _skip_bound_address(kind: int) -> Talk[None]:
    if kind == _NAME:
        yield from exactly(Peer.FAR, (yield from exactly(Peer.FAR, 1))[0] + 2)
    elif kind in (_IPV4, _IPV6):
        yield from exactly(Peer.FAR, (4 if kind == _IPV4 else 16) + 2)
    else:
        raise OrderlyEnd(f"Unsupported SOCKS5 address type 0x{kind:02x}")


def _destination(text: str) -> bytes:
    """`HOST:PORT` or `PORT` in octets; the configuration has checked that it is one."""
    host, _colon, port = text.rpartition(":")
    return _encoded(host or "localhost", int(port))


def _original(found: Host | None) -> bytes:
    if found is None:
        raise UnexpectedReply("The original destination of the connection is not known")
    return _encoded(*found)


def _encoded(host: str, port: int) -> bytes:
    bare = host[1:-1] if host.startswith("[") else host
    try:
        number = ipaddress.ip_address(bare).packed
    except ValueError:
        name = bare.encode("idna") if not bare.isascii() else bare.encode("ascii")
        return bytes((_NAME, len(name))) + name + port.to_bytes(2, "big")
    return bytes((_IPV4 if len(number) == 4 else _IPV6,)) + number + port.to_bytes(2, "big")


CLIENT = Hooks(late=client)
SERVER = Hooks(middle=server, late=server_connected, unreachable=server_unreachable)
