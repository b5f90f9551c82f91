"""SMTP and its STARTTLS: RFC 5321, RFC 3207; authentication: RFC 4954, RFC 4616."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import (
    NOTHING,
    Peer,
    Script,
    Talk,
    expect,
    line,
    say,
    silent,
    starts,
)

NEAR, FAR = Peer.NEAR, Peer.FAR
_SECRET: Final = "*****"


def ask_server(terms: Terms) -> Script:
    """Client side, in clear: show the server's greeting to our client, and ask the server for TLS."""
    greeting = yield from line(FAR)
    while starts(greeting, b"220-"):
        yield from say(NEAR, greeting)
        greeting = yield from line(FAR)
    yield from say(NEAR, greeting)
    yield from _hello(terms)
    yield from say(FAR, b"STARTTLS")
    answer = yield from _last_line(b"220-")
    expect(answer, "Remote server is not RFC 2487 compliant", b"220 ")
    yield from silent(FAR)
    return NOTHING


def log_in(terms: Terms) -> Script:
    """Client side, inside TLS: log in, where there is a name and a password; our client need not then."""
    if terms.username is None or terms.password is None:
        return NOTHING
    yield from _hello(terms)
    if terms.authentication == "login":
        yield from _auth_login(terms.username.encode(), terms.password.encode())
    else:
        yield from _auth_plain(terms.username.encode(), terms.password.encode())
    return NOTHING


def _hello(terms: Terms) -> Talk[None]:
    yield from say(FAR, b"EHLO " + (terms.host or "localhost").encode())
    answer = yield from _last_line(b"250-")
    expect(answer, "Remote server is not RFC 1425 compliant", b"250 ")


def _last_line(more: bytes) -> Talk[bytes]:
    """The line behind those that go on."""
    found = yield from line(FAR)
    while starts(found, more):
        found = yield from line(FAR)
    return found


def _auth_plain(name: bytes, password: bytes) -> Talk[None]:
    secret = b64encode(b"\0" + name + b"\0" + password)
    yield from say(FAR, b"AUTH PLAIN " + secret, shown=f"AUTH PLAIN {_SECRET}")
    expect((yield from _last_line(b"235-")), "PLAIN Authentication Failed", b"235 ")


def _auth_login(name: bytes, password: bytes) -> Talk[None]:
    unsupported = "Remote server does not support LOGIN authentication"
    yield from say(FAR, b"AUTH LOGIN")
    expect((yield from line(FAR)), unsupported, b"334 ")
    yield from say(FAR, b64encode(name), shown=_SECRET)
    expect((yield from line(FAR)), unsupported, b"334 ")
    yield from say(FAR, b64encode(password), shown=_SECRET)
    expect((yield from _last_line(b"235-")), "LOGIN authentication failed", b"235 ")


CLIENT: Final = Hooks(middle=ask_server, late=log_in)
