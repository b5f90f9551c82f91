"""ManageSieve and its STARTTLS: RFC 5804 sections 1.2, 2.2 and 4.

A server tells its capabilities again as soon as TLS has begun.  So the far end's greeting is what our client
is to see first, and nothing of what is said before TLS is passed on.
"""

from __future__ import annotations

import re
from typing import Final

from culvert.negotiate.failures import OrderlyEnd, UnexpectedReply
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import (
    LINE_MOST,
    NOTHING,
    Peer,
    Script,
    Talk,
    exactly,
    expect,
    go_ahead,
    line,
    say,
    silent,
    starts,
)

NEAR, FAR = Peer.NEAR, Peer.FAR
_LITERAL: Final = re.compile(rb"\{([0-9]{1,9})\+?\}$")
_CAPABILITIES: Final = (
    b'"IMPLEMENTATION" "Culvert"',
    b'"SIEVE" ""',
    b'"SASL" ""',
    b'"STARTTLS"',
    b'"VERSION" "1.0"',
)


def _response() -> Talk[tuple[list[bytes], bytes]]:
    """The server's lines before the last, and the last: OK, NO or BYE."""
    lines: list[bytes] = []
    while True:
        found = yield from _line()
        if starts(found, b"OK", b"NO", b"BYE"):
            return lines, found
        lines.append(found)


def _line() -> Talk[bytes]:
    """A line with the literals in it."""
    found = yield from line(FAR)
    while (literal := _LITERAL.search(found)) is not None:
        size = int(literal[1])
        if size > LINE_MOST:
            raise UnexpectedReply("Literal too long", found)
        found += (yield from exactly(FAR, size)) + (yield from line(FAR))
    return found


def ask_server(_terms: Terms) -> Script:
    """Client side, in clear: ask the server for TLS."""
    offered, last = yield from _response()
    expect(last, "Unknown server welcome", b"OK")
    if not any(starts(each, b'"STARTTLS"') for each in offered):
        raise UnexpectedReply("Server does not support TLS")
    yield from say(FAR, b"STARTTLS")
    _, last = yield from _response()
    expect(last, "Server does not support TLS", b"OK")
    yield from silent(FAR)
    return NOTHING


def offer_tls(_terms: Terms) -> Script:
    """Server side, before the far end is asked: take a way into TLS and nothing else."""
    yield from say(NEAR, *_CAPABILITIES, b'OK "Culvert ready."')
    while True:
        command = (yield from line(NEAR)).strip().upper()
        if command == b"STARTTLS":
            yield from go_ahead(NEAR, b'OK "Begin TLS negotiation now."')
            return NOTHING
        if command == b"CAPABILITY":
            yield from say(NEAR, *_CAPABILITIES, b"OK")
        elif command == b"LOGOUT":
            yield from say(NEAR, b"OK")
            raise OrderlyEnd("")
        elif command == b"NOOP":
            yield from say(NEAR, b"OK")
        else:
            yield from say(NEAR, b'BYE (ENCRYPT-NEEDED) "STARTTLS is required"')
            raise OrderlyEnd("Client does not want TLS")


CLIENT: Final = Hooks(middle=ask_server)
SERVER: Final = Hooks(early=offer_tls)
