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
    go_ahead,
    line,
    note,
    say,
    silent,
    speaks,
    starts,
)

NEAR, FAR = Peer.NEAR, Peer.FAR
DEBUG: Final = 7
_SECRET: Final = "*****"

# Client side


def ask_server(terms: Terms, hello: bytes = b"EHLO") -> Script:
    """In clear: show the server's greeting to our client, and ask the server for TLS."""
    greeting = yield from line(FAR)
    while starts(greeting, b"220-"):
        yield from say(NEAR, greeting)
        greeting = yield from line(FAR)
    yield from say(NEAR, greeting)
    yield from _hello(terms, hello)
    yield from say(FAR, b"STARTTLS")
    answer = yield from _last_line(b"220-")
    expect(answer, "Remote server is not RFC 2487 compliant", b"220 ")
    yield from silent(FAR)
    return NOTHING


def log_in(terms: Terms) -> Script:
    """Inside TLS: log in, where there are a name and a password, so that our client need not."""
    if terms.username is None or terms.password is None:
        return NOTHING
    yield from _hello(terms, b"EHLO")
    if terms.authentication == "login":
        yield from _auth_login(terms.username.encode(), terms.password.encode())
    else:
        yield from _auth_plain(terms.username.encode(), terms.password.encode())
    return NOTHING


def _hello(terms: Terms, hello: bytes) -> Talk[None]:
    yield from say(FAR, hello + b" " + (terms.host or "localhost").encode())
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


# Server side


def offer_tls(_terms: Terms) -> Script:
    """With the far end's greeting, unless the client speaks TLS at once."""
    if (yield from speaks(NEAR)):
        yield from note(DEBUG, "RFC 2487 not detected")
        return NOTHING
    yield from note(DEBUG, "RFC 2487 detected")
    yield from serve(b"EHLO")
    return NOTHING


def serve(hello: bytes) -> Talk[None]:
    """Greet in the name of the far end, and take nothing but the hello and STARTTLS.

    Of the far end only the greeting is read: what the client says inside TLS begins with a hello again.
    """
    greeting = expect((yield from line(FAR)), "Unknown server welcome", b"220 ", b"220-")
    mark, domain, rest = greeting[:4], *_words(greeting[4:])
    yield from say(NEAR, mark + domain + b" culvert" + (b" for " + rest if rest else b""))
    while starts(greeting, b"220-"):
        greeting = yield from line(FAR)
        yield from say(NEAR, greeting)
    command = yield from line(NEAR)
    expect(command, f"Unknown client {hello.decode()}", hello + b" ")
    yield from say(NEAR, b"250-" + domain, b"250 STARTTLS")
    expect((yield from line(NEAR)), "STARTTLS expected", b"STARTTLS")
    yield from go_ahead(NEAR, b"220 Go ahead")


def _words(text: bytes) -> tuple[bytes, bytes]:
    first, _, rest = text.strip().partition(b" ")
    return first or b"localhost", rest.strip()


CLIENT: Final = Hooks(middle=ask_server, late=log_in)
SERVER: Final = Hooks(middle=offer_tls, dials_first=True)
