"""CIFS over a NetBIOS session (RFC 1002, 4.3), with the code by which a server asks for TLS."""

from __future__ import annotations

from typing import Final

from culvert.negotiate.failures import UnexpectedReply
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Peer, Script, exactly, go_ahead_octets, send, silent

_REQUEST: Final = 0x81
_NEGATIVE: Final = 0x83
_USE_TLS: Final = 0x8E
_BLOCK_MAX: Final = 124
_EMPTY_REQUEST: Final = bytes((_REQUEST, 0, 0, 0))
_REFUSED: Final = bytes((_NEGATIVE, 0, 0, 1, 0x81))  # called name not present
_TLS_REQUIRED: Final = bytes((_NEGATIVE, 0, 0, 1, _USE_TLS))


def client(_terms: Terms) -> Script:
    """Ask for a session and expect the answer that it needs TLS."""
    yield from send(Peer.FAR, _EMPTY_REQUEST)
    answer = yield from exactly(Peer.FAR, len(_TLS_REQUIRED))
    if answer[0] != _NEGATIVE:
        raise UnexpectedReply("Negative response expected")
    if answer[2:4] != b"\0\1":
        raise UnexpectedReply("Unexpected NetBIOS response size")
    if answer[4] != _USE_TLS:
        raise UnexpectedReply("Remote server does not require TLS")
    yield from silent(Peer.FAR)
    return NOTHING


def server(_terms: Terms) -> Script:
    """Answer a request for a session with the need for TLS; the request goes no further."""
    header = yield from exactly(Peer.NEAR, len(_EMPTY_REQUEST))
    size = int.from_bytes(header[2:], "big")
    if size > _BLOCK_MAX:
        raise UnexpectedReply("Received block too long")
    yield from exactly(Peer.NEAR, size)
    if header[0] != _REQUEST:
        yield from send(Peer.NEAR, _REFUSED)
        raise UnexpectedReply("Client did not send session setup")
    yield from go_ahead_octets(Peer.NEAR, _TLS_REQUIRED)
    return NOTHING


CLIENT = Hooks(middle=client)
SERVER = Hooks(early=server)
