"""NNTP and its STARTTLS: RFC 3977, RFC 4642."""

from __future__ import annotations

from typing import Final

from culvert.negotiate.failures import OrderlyEnd
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Peer, Script, expect, go_ahead, line, say, silent

NEAR, FAR = Peer.NEAR, Peer.FAR


def ask_server(_terms: Terms) -> Script:
    """Client side, in clear: show the server's greeting to our client, and ask the server for TLS."""
    greeting = expect((yield from line(FAR)), "Unknown server welcome", b"200 ", b"201 ")
    yield from say(NEAR, greeting)
    yield from say(FAR, b"STARTTLS")
    expect((yield from line(FAR)), "Server does not support TLS", b"382 ", b"382")
    yield from silent(FAR)
    return NOTHING


def offer_tls(_terms: Terms) -> Script:
    """Server side: with the far end's greeting; everything but a way into TLS has to wait for it."""
    greeting = expect((yield from line(FAR)), "Unknown server welcome", b"200 ", b"201 ")
    yield from say(NEAR, greeting)
    while True:
        command = (yield from line(NEAR)).strip().upper()
        if command == b"STARTTLS":
            yield from go_ahead(NEAR, b"382 Continue with TLS negotiation")
            return NOTHING
        if command.partition(b" ")[0] == b"CAPABILITIES":
            yield from say(NEAR, b"101 Capability list:", b"VERSION 2", b"STARTTLS", b".")
        elif command == b"QUIT":
            yield from say(NEAR, b"205 Closing connection")
            raise OrderlyEnd("")
        else:
            yield from say(NEAR, b"483 Encryption required")


CLIENT: Final = Hooks(middle=ask_server)
SERVER: Final = Hooks(middle=offer_tls, dials_first=True)
