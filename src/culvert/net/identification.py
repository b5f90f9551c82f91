"""The Identification Protocol (RFC 1413): who owns a connection, asked at the other end of it.

The answer is worth what the host that gives it is worth.
"""

from __future__ import annotations

from typing import Final

from culvert.errors import PeerError

SERVICE: Final = ("auth", 113)
"""Name and number of the port that is asked (RFC 1413, 3)."""

REPLY_OCTETS: Final = 1024
"""The longest line that is read; a server must not send more than 1000 (RFC 1413, 6)."""


def question(client_port: int, own_port: int) -> bytes:
    """The line to send: the port at the client's host, then our own (RFC 1413, 5)."""
    return b"%d , %d\r\n" % (client_port, own_port)


def user_of(reply: bytes, client_port: int, own_port: int) -> str:
    """The user name out of the one line of the answer; blanks around it do not count.

    Raises PeerError for an answer that names none, or that is about another connection.
    """
    ports, colon, rest = reply.rstrip(b"\r\n").partition(b":")
    kind, _colon, rest = rest.partition(b":")
    _system, last_colon, user = rest.partition(b":")
    if not colon or (not last_colon and kind.strip() == b"USERID"):
        raise PeerError("Malformed IDENT response", "")
    if kind.strip() != b"USERID":
        raise PeerError("Incorrect IDENT response type", _shown(kind))
    if _numbers(ports) != (client_port, own_port):
        raise PeerError("Malformed IDENT response", "it is about another connection")
    return user.strip(b" \t").decode("utf-8", "surrogateescape")


def _numbers(ports: bytes) -> tuple[int, ...]:
    fields = [each.strip() for each in ports.split(b",")]
    return tuple(int(each) for each in fields if each.isdigit() and len(each) <= 5)


def _shown(kind: bytes) -> str:
    return kind[:64].strip().decode("ascii", "backslashreplace")
