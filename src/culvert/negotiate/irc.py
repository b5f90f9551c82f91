"""IRC and its STARTTLS: https://ircv3.net/specs/deprecated/tls, capabilities:
https://ircv3.net/specs/extensions/capability-negotiation; lines: RFC 2812.
"""

from __future__ import annotations

from typing import Final

from culvert.negotiate.failures import OrderlyEnd, UnexpectedReply, shown
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Peer, Script, Talk, go_ahead, line, say, silent

NEAR, FAR = Peer.NEAR, Peer.FAR
_US: Final = b":culvert "
_REFUSALS: Final = frozenset((b"691", b"421", b"451", b"462"))  # failed, unknown, not or already registered


def ask_server(_terms: Terms) -> Script:
    """Client side, in clear: ask the server for TLS before anybody registers.

    Notices of the server come as they like, and are nothing that our client should believe.
    """
    yield from say(FAR, b"STARTTLS")
    numeric = b""
    while numeric != b"670":
        found = yield from line(FAR)
        words = found.split()
        numeric = words[1] if found.startswith(b":") and len(words) > 1 else b""
        if words[:1] == [b"PING"]:
            yield from say(FAR, b"PONG " + b" ".join(words[1:]))
        elif numeric in _REFUSALS or words[:1] == [b"ERROR"]:
            raise UnexpectedReply("Server does not support TLS", found)
    yield from silent(FAR)
    return NOTHING


def offer_tls(_terms: Terms) -> Script:
    """Server side, before the far end is asked: take a way into TLS and nothing else."""
    while True:
        found = yield from line(NEAR)
        command, _, rest = found.strip().upper().partition(b" ")
        if command == b"STARTTLS":
            yield from go_ahead(NEAR, _US + b"670 * :STARTTLS successful, go ahead with TLS handshake")
            return NOTHING
        if command == b"CAP":
            yield from _capability(rest.split())
        elif command == b"PING":
            yield from say(NEAR, _US + b"PONG culvert " + found.strip()[5:])
        elif command:
            yield from say(NEAR, b"ERROR :Closing link: STARTTLS is required")
            raise OrderlyEnd(f"Client does not want TLS: {shown(found)}")


def _capability(words: list[bytes]) -> Talk[None]:
    asked = [each.lstrip(b":") for each in words[1:]]
    match words[:1]:
        case [b"LS"]:
            yield from say(NEAR, _US + b"CAP * LS :tls")
        case [b"LIST"]:
            yield from say(NEAR, _US + b"CAP * LIST :")
        case [b"REQ"]:
            agreed = b"ACK" if asked == [b"TLS"] else b"NAK"
            yield from say(NEAR, _US + b"CAP * " + agreed + b" :" + b" ".join(asked).lower())


CLIENT: Final = Hooks(middle=ask_server)
SERVER: Final = Hooks(early=offer_tls)
