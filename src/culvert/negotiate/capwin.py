"""CapWIN: a login inside TLS, with credentials that `capwinctrl` was given or that a client brings.

The server asks an LDAP directory by a simple bind.  The name is escaped (RFC 4514, 2.4), and an empty
password is refused: a bind without one succeeds everywhere and proves nothing (RFC 4513, 5.1.2).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from culvert.negotiate import ber
from culvert.negotiate.failures import NegotiationFailed, OrderlyEnd
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Fact, Peer, Script, Talk, ask, exactly, learn, note, send

CREDENTIALS_MAX: Final = 99
_NOTICE: Final = 5
_UNIT, _FILE = b"\x1f", b"\x1c"  # the separators of ASCII
_GRANTED: Final = b"BINGO"
_FAILED: Final = b"FAILED"
_SPECIAL: Final = frozenset('+;,\\"<>#')
_BRANCH: Final = ",ou=people,O=CAPWIN,C=US"
_BIND, _BIND_RESPONSE, _SIMPLE = 0x60, 0x61, 0x80


class Credentials(NamedTuple):
    """`COMMAND 1F USER 1F PASSWORD 1F CONTROL 1C`."""

    command: bytes
    user: bytes
    password: bytes
    control: bytes


def credentials(octets: bytes) -> Credentials:
    """Take the string apart, its end included.  Raises NegotiationFailed."""
    parts = octets.removesuffix(_FILE).split(_UNIT)
    if len(parts) != len(Credentials._fields):
        raise NegotiationFailed(f"CapWIN: Malformed credentials ({len(parts)})")
    return Credentials(*parts)


def client(_terms: Terms) -> Script:
    """Log in with the credentials that were stored last."""
    stored: bytes = yield from learn(Fact.CREDENTIALS)
    if not stored:
        raise NegotiationFailed("CapWIN: No credentials set")
    found = credentials(stored)
    if found.command != b"AUTH":
        raise NegotiationFailed("CapWIN: Invalid authentication request")
    yield from send(Peer.FAR, _UNIT + found.user + _UNIT + found.password + _UNIT + _FILE)
    if (yield from exactly(Peer.FAR, len(_GRANTED))) != _GRANTED:
        raise NegotiationFailed("CapWIN: Authentication failed")
    yield from note(_NOTICE, "CapWIN: Authentication succeeded")
    return NOTHING


def server(terms: Terms) -> Script:
    """Let the directory judge what the client shows."""
    found = credentials((yield from secret(Peer.NEAR)))
    name, password = _name(found.user), found.password
    if name is None or not password or b"\0" in password:
        yield from _fail("CapWIN: Malformed credentials")
    elif not (yield from _directory_agrees(terms.host or "", name, password)):
        yield from _fail("CapWIN: Authentication failed")
    return NOTHING


def server_connected(_terms: Terms) -> Script:
    """Let the client in."""
    yield from send(Peer.NEAR, _GRANTED)
    return NOTHING


def secret(peer: Peer) -> Talk[bytes]:
    """Credentials, octet by octet in a unit that the log does not show."""
    found = b""
    while not found.endswith(_FILE):
        if len(found) >= CREDENTIALS_MAX:
            raise NegotiationFailed("CapWIN: Credentials too long")
        found += yield from exactly(peer, 1)
    return found


def _fail(reason: str) -> Talk[None]:
    yield from send(Peer.NEAR, _FAILED)
    raise OrderlyEnd(reason)


def _name(user: bytes) -> bytes | None:
    """The distinguished name of a user, None for one that cannot be."""
    try:
        text = user.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not text or "\0" in text:
        return None
    escaped = "".join("\\" + each if each in _SPECIAL else each for each in text)
    if text[0] == " ":
        escaped = "\\" + escaped
    if len(text) > 1 and text[-1] == " ":
        escaped = escaped[:-1] + "\\ "
    return f"uid={escaped}{_BRANCH}".encode()


def _directory_agrees(host: str, name: bytes, password: bytes) -> Talk[bool]:
    bind = ber.integer(3) + ber.encode(ber.OCTET_STRING, name) + ber.encode(_SIMPLE, password)
    request = ber.encode(ber.SEQUENCE, ber.integer(1), ber.encode(_BIND, bind))
    message = ber.Reader((yield from ask(host, request)))
    answer = ber.Reader(message.expect(ber.SEQUENCE))
    if answer.number() != 1:
        raise ber.bad("unexpected message ID value")
    return ber.Reader(answer.expect(_BIND_RESPONSE)).number(ber.ENUMERATED) == 0


CLIENT = Hooks(late=client)
SERVER = Hooks(middle=server, late=server_connected)
