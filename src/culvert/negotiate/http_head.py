"""The head of an HTTP/1 message, as far as a CONNECT needs it (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from culvert.negotiate.failures import NegotiationFailed, UnexpectedReply
from culvert.negotiate.steps import Peer, Talk, exactly, line

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: .*)?", re.DOTALL)
_FIELDS_MAX: Final = 100
_BODY_MAX: Final = 32 * 1024


class Head(NamedTuple):
    """A status line and the fields behind it."""

    status: int
    first: bytes
    fields: tuple[bytes, ...]

    def values(self, name: bytes) -> Iterator[bytes]:
        """The values of every field of this name, in any case."""
        for field in self.fields:
            found, colon, value = field.partition(b":")
            if colon and found.strip().lower() == name:
                yield value.strip()


def receive_head(peer: Peer) -> Talk[Head]:
    """The head of a response.  Raises UnexpectedReply for what is no HTTP/1."""
    first = yield from line(peer)
    match = _STATUS.fullmatch(first)
    if not match:
        raise UnexpectedReply("CONNECT request rejected", first)
    return Head(int(match[1]), first, (yield from fields(peer)))


def fields(peer: Peer) -> Talk[tuple[bytes, ...]]:
    """The field lines up to the empty one."""
    found: list[bytes] = []
    while field := (yield from line(peer)):
        found.append(field)
        if len(found) > _FIELDS_MAX:
            raise NegotiationFailed(f"more than {_FIELDS_MAX} header lines")
    return tuple(found)


def skip_body(peer: Peer, head: Head) -> Talk[None]:
    """Take the body of a response, of which only the simple kind is known: with Content-Length, or none."""
    if any(head.values(b"transfer-encoding")):
        raise NegotiationFailed("the proxy sends a body of unknown length")
    lengths = set(head.values(b"content-length")) or {b"0"}
    length = lengths.pop()
    if lengths or not length.isdigit() or len(length) > 9:
        raise NegotiationFailed("Proxy-Authenticate: Invalid Content-Length")
    if int(length) > _BODY_MAX:
        raise NegotiationFailed(f"the proxy sends a body of {int(length)} octets")
    yield from exactly(peer, int(length))
