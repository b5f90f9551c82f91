"""FTP and its AUTH TLS, on the control connection alone: RFC 959, RFC 4217; FEAT: RFC 2389.

Data connections are made between the client and the server themselves, in clear unless they agree on
something else inside this TLS.
"""

from __future__ import annotations

from typing import Final

from culvert.negotiate.failures import OrderlyEnd
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Peer, Script, Talk, expect, go_ahead, line, say, silent, starts

NEAR, FAR = Peer.NEAR, Peer.FAR
_AUTH: Final = frozenset((b"AUTH TLS", b"AUTH TLS-C", b"AUTH SSL"))


def _greeting() -> Talk[None]:
    """Show the server's greeting to the client: lines up to one that begins with the code and a blank."""
    found = expect((yield from line(FAR)), "Unknown server welcome", b"220 ", b"220-")
    yield from say(NEAR, found)
    if starts(found, b"220-"):
        while not starts(found, b"220 "):
            found = yield from line(FAR)
            yield from say(NEAR, found)


def ask_server(_terms: Terms) -> Script:
    """Client side, in clear: show the server's greeting to our client, and ask the server for TLS."""
    yield from _greeting()
    yield from say(FAR, b"AUTH TLS")
    answer = yield from line(FAR)
    while starts(answer, b"234-"):
        answer = yield from line(FAR)
    expect(answer, "Server does not support TLS", b"234")
    yield from silent(FAR)
    return NOTHING


def offer_tls(_terms: Terms) -> Script:
    """Server side: with the far end's greeting; everything but a way into TLS has to wait for it."""
    yield from _greeting()
    while True:
        command = b" ".join((yield from line(NEAR)).upper().split())
        if command in _AUTH:
            yield from go_ahead(NEAR, b"234 Proceed with negotiation")
            return NOTHING
        if command == b"FEAT":
            yield from say(NEAR, b"211-Features:", b" AUTH TLS", b"211 End")
        elif command == b"QUIT":
            yield from say(NEAR, b"221 Goodbye")
            raise OrderlyEnd("")
        else:
            yield from say(NEAR, b"530 Please use AUTH TLS first")


CLIENT: Final = Hooks(middle=ask_server)
SERVER: Final = Hooks(middle=offer_tls, dials_first=True)
