"""POP3 and its STLS: RFC 1939, RFC 2595 section 4; capabilities: RFC 2449."""

from __future__ import annotations

from typing import Final

from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Peer, Script, expect, go_ahead, line, say, silent, starts

NEAR, FAR = Peer.NEAR, Peer.FAR


def ask_server(_terms: Terms) -> Script:
    """Client side, in clear: show the server's greeting to our client, and ask the server for TLS."""
    greeting = expect((yield from line(FAR)), "Unknown server welcome", b"+OK")
    yield from say(NEAR, greeting)
    yield from say(FAR, b"STLS")
    expect((yield from line(FAR)), "Server does not support TLS", b"+OK")
    yield from silent(FAR)
    return NOTHING


def offer_tls(_terms: Terms) -> Script:
    """Server side: with the far end's greeting; take nothing but CAPA and STLS."""
    greeting = yield from line(FAR)
    yield from say(NEAR, greeting + b" + culvert")
    command = yield from line(NEAR)
    while starts(command, b"CAPA"):
        yield from say(NEAR, b"+OK Culvert capability list follows", b"STLS", b".")
        command = yield from line(NEAR)
    expect(command, "Client does not want TLS", b"STLS")
    yield from go_ahead(NEAR, b"+OK Culvert starts TLS negotiation")
    return NOTHING


CLIENT: Final = Hooks(middle=ask_server)
SERVER: Final = Hooks(middle=offer_tls, dials_first=True)
