"""Lines for a connection's log about its handshake, in stunnel's wording.  Nothing here costs anything
unasked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice

from culvert.observe.log import DEBUG, ERR, INFO
from culvert.openssl._errors import describe
from culvert.openssl.protocols import agreed_protocol
from culvert.openssl.session import Session
from culvert.tls.library import in_force

AUTHORITIES_TOLD = 100
"""A server may name thousands in one handshake; the log gets the first ones."""

Line = tuple[int, str]
"""A level of syslog and a text."""


def success_lines(session: Session, *, asked: bool) -> Iterator[Line]:
    """What was agreed on.  asked: a certificate was demanded or requested of the peer."""
    done = "accepted" if session.server else "connected"
    yield INFO, f"Session id: {session.id.hex().upper()}"
    yield INFO, f"TLS {done}: {_how(session)}"
    yield INFO, f"{session.version} ciphersuite: {session.cipher} ({session.cipher_bits}-bit encryption)"
    yield from _key_lines(session)
    ways = session.compression if in_force().compression else ("null", "null")
    yield DEBUG, "Compression: {}, expansion: {}".format(*ways)
    if asked:
        yield from _peer_lines(session)
    if session.resumed:
        return
    yield from _staple_lines(session) if session.server else _request_lines(session)


def _how(session: Session) -> str:
    """A client shows its key beside the ticket that it may have; a server takes the ticket where it can."""
    if session.by_key and (session.server or not (session.offers and session.resumed)):
        return "PSK"
    return "previous session reused" if session.resumed else "new session negotiated"


def protocol_line(session: Session) -> Line:
    """What application protocol was agreed on, by a service that has any."""
    name = agreed_protocol(session)
    if name is None:
        peer = "client offered none" if session.server else "server chose none"
        return INFO, f"ALPN: the {peer}"
    return INFO, f"ALPN: agreed on {name.decode('utf-8', 'replace')}"


def _key_lines(session: Session) -> Iterator[Line]:
    key = session.peer_key
    if key is None:
        yield INFO, "No peer temporary key received"
    else:
        yield INFO, f"Peer temporary key: {key[0]}, {key[1]} bits"
    if session.version == "TLSv1.3" and session.group:
        yield INFO, f"Negotiated TLSv1.3 group: {session.group}"


def _peer_lines(session: Session) -> Iterator[Line]:
    certificate = session.peer_certificate
    if certificate is None:
        yield INFO, "No peer certificate received"
    else:
        yield DEBUG, f"Peer certificate was cached ({len(certificate.der)} bytes)"


def _staple_lines(session: Session) -> Iterator[Line]:
    """Whether the client wanted an OCSP response, and had it."""
    if session.staple_asked:
        yield DEBUG, "OCSP stapling: Server callback called"
        if session.stapled is not None:
            yield DEBUG, "OCSP stapling: OCSP response sent back"


def _request_lines(session: Session) -> Iterator[Line]:
    """Whose certificates a server takes."""
    if not session.certificate_requested:
        yield INFO, "Client certificate not requested"
        return
    names = list(islice(session.peer_authorities(), AUTHORITIES_TOLD))
    for name in names:
        yield INFO, f"Received trusted client CA: {name}"
    if not names:
        yield INFO, "Received trusted client CA list is empty"


def failure_line(call: str, codes: Sequence[int]) -> str:
    """Why OpenSSL failed, of level 3: what fail2ban and operators match on.

    call: ``SSL_accept``, ``SSL_connect``, ``SSL_read`` ...
    codes: of OpenSSL's error queue, oldest first (ERR_get_error(3)); the first is the cause.
    """
    if not codes:
        return f"{call}: Peer suddenly disconnected"
    return f"{call}: {codes[0]:08X}: {describe(codes[0])}"


def queue_lines(codes: Sequence[int]) -> Iterator[Line]:
    """The rest of the error queue, the last error first; it stands before the failure_line()."""
    for code in reversed(tuple(dict.fromkeys(codes))[1:]):
        yield ERR, f"error queue: {code:08X}: {describe(code)}"


def failure_lines(
    server: bool, codes: Sequence[int], errno: int = 0, client: str | None = None
) -> Iterator[Line]:
    """All lines for a failed handshake: (level, text).

    codes: as in failure_line(); errno: of the socket when it failed, else 0.
    client: the address to name at the end, as stunnel does from 5.77 on.
    """
    call = "SSL_accept" if server else "SSL_connect"
    behind = f": client {client}" if client else ""
    if errno:
        yield ERR, f"{call}: {os.strerror(errno)} ({errno}){behind}"
        return
    yield from queue_lines(codes)
    yield ERR, failure_line(call, codes) + behind
