"""PostgreSQL: the SSLRequest before TLS (PostgreSQL manual, 55.2.10 and 55.7), or TLS at once.

A client may begin with TLS itself, as libpq does with `sslnegotiation = direct` since 17; ALPN then has to be
`postgresql`, which is the `alpn` option's affair and not ours.  A client in mode `gssencmode = prefer` asks
for GSSAPI encryption first; it is told `N` like PostgreSQL itself does, and goes on with SSLRequest on the
same connection.

Towards a server the local client talks in clear, and two things of its protocol would break on that.  It may
ask for encryption itself (`sslmode = prefer` is libpq's default): it is told `N` and goes on without.  And a
server with TLS offers SCRAM-SHA-256-PLUS, which binds the password to the TLS channel (55.3.1); the client
has no such channel, and libpq refuses the connection.  That one mechanism is taken from the list.
"""

from __future__ import annotations

import struct
from typing import Final

from culvert.negotiate.failures import NegotiationFailed
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import (
    NOTHING,
    Peer,
    Script,
    Talk,
    exactly,
    go_ahead_octets,
    look,
    note,
    send,
    silent,
)

DEBUG, INFO = 7, 6

_REQUEST: Final = struct.Struct("!II")
_SIZE: Final = _REQUEST.size
_SSL, _GSSENC = 80877103, 80877104
_SSL_REQUEST: Final = _REQUEST.pack(_SIZE, _SSL)
_GSSENC_REQUEST: Final = _REQUEST.pack(_SIZE, _GSSENC)
_CANCEL: Final = (80877102).to_bytes(4, "big")
_START_MAX: Final = 10_000  # as PostgreSQL has it, MAX_STARTUP_PACKET_LENGTH
_ANSWER_MAX: Final = 16 * 1024
_ANSWERS_MAX: Final = 3
_AUTHENTICATION, _NEGOTIATE_VERSION = b"R", b"v"
_SASL: Final = (10).to_bytes(4, "big")
_WITH_BINDING: Final = b"SCRAM-SHA-256-PLUS"
_TLS_HANDSHAKE: Final = 0x16  # the first octet of a TLS record with a ClientHello, RFC 8446, 5.1
_REQUESTS_MAX: Final = 2  # one for GSSAPI, one for TLS


def client(_terms: Terms) -> Script:
    """Ask the server for TLS."""
    yield from send(Peer.FAR, _SSL_REQUEST)
    if (yield from exactly(Peer.FAR, 1)) != b"S":
        raise NegotiationFailed("PostgreSQL server rejected TLS")
    yield from silent(Peer.FAR)
    return NOTHING


def client_in_tls(_terms: Terms) -> Script:
    """Carry what the local client begins with, and the server's first answers to it."""
    start = yield from _start()
    yield from send(Peer.FAR, start)
    if start[4:8] == _CANCEL:
        return NOTHING
    for _ in range(_ANSWERS_MAX):
        kind = yield from exactly(Peer.FAR, 1)
        length = yield from exactly(Peer.FAR, 4)
        body = yield from exactly(Peer.FAR, _length(length, _ANSWER_MAX))
        yield from send(Peer.NEAR, _without_binding(kind, body))
        if kind != _NEGOTIATE_VERSION:
            return NOTHING
    raise NegotiationFailed("PostgreSQL server does not come to the authentication")


def _start() -> Talk[bytes]:
    """The client's first packet that is no request for encryption; there is one such request of each kind."""
    for _ in range(_REQUESTS_MAX + 1):
        length = yield from exactly(Peer.NEAR, 4)
        body = yield from exactly(Peer.NEAR, _length(length, _START_MAX))
        if length + body not in (_SSL_REQUEST, _GSSENC_REQUEST):
            return length + body
        yield from send(Peer.NEAR, b"N")
    raise NegotiationFailed("the local client does not stop asking for encryption")


def _length(octets: bytes, most: int) -> int:
    """How many octets follow a length, which counts itself."""
    length = int.from_bytes(octets, "big")
    if not 8 <= length <= most:
        raise NegotiationFailed(f"a PostgreSQL message of {length} octets")
    return length - 4


def _without_binding(kind: bytes, body: bytes) -> bytes:
    """A message of the server; from AuthenticationSASL (55.7) the mechanism with channel binding is gone."""
    if kind == _AUTHENTICATION and body[:4] == _SASL:
        names = [each for each in body[4:].split(b"\0") if each and each != _WITH_BINDING]
        body = _SASL + b"".join(each + b"\0" for each in names) + b"\0"
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def server(_terms: Terms) -> Script:
    """Wait until the client asks for TLS, or begins with it."""
    if (yield from look(Peer.NEAR))[0] == _TLS_HANDSHAKE:
        return NOTHING
    for _ in range(_REQUESTS_MAX):
        size, code = _REQUEST.unpack((yield from exactly(Peer.NEAR, _SIZE)))
        if size != _SIZE or code not in (_SSL, _GSSENC):
            break
        if code == _SSL:
            yield from note(DEBUG, "SSLRequest received")
            yield from go_ahead_octets(Peer.NEAR, b"S")
            return NOTHING
        yield from note(INFO, "GSSAPI encryption requested, rejecting gracefully")
        yield from send(Peer.NEAR, b"N")
    yield from send(Peer.NEAR, _error("TLS is required, and the client did not ask for it"))
    raise NegotiationFailed("PostgreSQL client did not request TLS, rejecting")


def _error(text: str) -> bytes:
    """An ErrorResponse: FATAL, invalid_authorization_specification (55.7, 55.8)."""
    fields = b"SFATAL\0VFATAL\0C28000\0M" + text.encode("ascii") + b"\0\0"
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


CLIENT = Hooks(middle=client, late=client_in_tls)
SERVER = Hooks(early=server)
