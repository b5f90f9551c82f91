"""What is said to each real server once the tunnel is open, and what only the server can have answered."""

from __future__ import annotations

import re
import socket

SECONDS = 15.0
XMPP = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:%s' to='example.org' version='1.0'"
    b" xmlns:stream='http://etherx.jabber.org/streams'>"
)

# protocol -> (what is sent, what has to come then), in turn; the first is the greeting where there is one.
Turn = tuple[bytes, bytes]
GREETING: dict[str, Turn] = {
    "smtp": (b"", rb"220 .*\r\n"),
    "lmtp": (b"", rb"220 .*\r\n"),
    "imap": (b"", rb"\* OK .*\r\n"),
    "pop3": (b"", rb"\+OK .*\r\n"),
    "nntp": (b"", rb"201 .*\r\n"),
    "ftp": (b"", rb"220 .*\r\n"),
}
DIALOGUE: dict[str, tuple[Turn, ...]] = {
    "smtp": ((b"EHLO me\r\n", rb"250 CHUNKING\r\n"), (b"QUIT\r\n", rb"221 2\.0\.0 .*\r\n")),
    "lmtp": ((b"LHLO me\r\n", rb"250 .*\r\n"), (b"QUIT\r\n", rb"221 .*\r\n")),
    "imap": ((b"a LOGIN user secret-word\r\n", rb"a OK .*\r\n"), (b"b LOGOUT\r\n", rb"b OK .*\r\n")),
    "pop3": (
        (b"USER user\r\n", rb"\+OK.*\r\n"),
        (b"PASS secret-word\r\n", rb"\+OK.*\r\n"),
        (b"QUIT\r\n", rb"\+OK.*\r\n"),
    ),
    "nntp": ((b"GROUP local.test\r\n", rb"211 0 .*local\.test\r\n"), (b"QUIT\r\n", rb"205 .*\r\n")),
    "ftp": (
        (b"USER anonymous\r\n", rb"331 .*\r\n"),
        (b"PASS a@b\r\n", rb"230 .*\r\n"),
        (b"QUIT\r\n", rb"221 .*\r\n"),
    ),
    "irc": (
        (b"NICK nobody\r\nUSER a a a :a\r\n", rb":irc\.example\.org 001 nobody .*\r\n"),
        (b"QUIT\r\n", rb"ERROR :.*\r\n"),
    ),
    "sieve": (
        (b"", rb'"IMPLEMENTATION" "Dovecot.*OK .*\r\n'),
        (b"LOGOUT\r\n", rb"OK .*\r\n"),
    ),
    "xmpp": (
        (XMPP % b"client", rb"<stream:stream .*</stream:features>"),
        (b"</stream:stream>", rb"</stream:stream>"),
    ),
    "xmpp-server": (
        (XMPP % b"server", rb"<stream:stream .*</stream:features>|<stream:stream .*<stream:features/>"),
        (b"</stream:stream>", rb"</stream:stream>"),
    ),
}


def heard(sock: socket.socket, pattern: bytes) -> bytes:
    """Read until the pattern is there.  AssertionError with all that was read when it does not come."""
    text = b""
    sock.settimeout(SECONDS)
    while not re.search(pattern, text, re.DOTALL):
        try:
            data = sock.recv(4096)
        except OSError as error:
            raise AssertionError(f"{pattern!r} did not come: {text!r}: {error}") from error
        assert data, f"{pattern!r} did not come before the end: {text!r}"
        text += data
    return text


def hold(port: int, protocol: str) -> bytes:
    """Hold the whole conversation in clear with whatever listens at the port; gives all that was heard."""
    turns = (*([GREETING[protocol]] if protocol in GREETING else []), *DIALOGUE[protocol])
    text = b""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as sock:
        for sent, expected in turns:
            sock.sendall(sent)
            text += heard(sock, expected)
    return text
