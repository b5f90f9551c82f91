"""The same words as stunnel's to both sides, and the same endings, of conversations that go well or do not.

Both programs are held against a scripted server and a scripted client.  What Culvert says otherwise on
purpose stands in docs/migration.md and is made equal before the comparison (``_plain``).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pki import Pki
from tests.proxies import Kind, listening, need, running
from tests.proxies.running import reserved_port

pytestmark = [pytest.mark.interop, pytest.mark.integration, pytest.mark.xdist_group("protocols")]

SECONDS = 10.0
TOP = "foreground = yes\npid =\nsyslog = no\ndebug = debug\n"


@dataclass(frozen=True)
class Case:
    """near: for each turn what our client says and how many lines it has to be answered before the next, -1
    for all until the end.  far: the server's greeting, and its answer to each line that it is sent.
    """

    service: str  # protocol and mode
    near: tuple[tuple[bytes, int], ...]
    far: tuple[bytes, ...] = ()
    wrong: bool = False  # it does not come to TLS


CASES = {
    "smtp server": Case(
        "smtp server", ((b"", 1), (b"EHLO a\r\n", 2), (b"STARTTLS\r\n", 1)), (b"220 mx ESMTP a\r\n",)
    ),
    "smtp server, many lines": Case(
        "smtp server",
        ((b"", 3), (b"ehlo a\r\n", 2), (b"starttls\r\n", 1)),
        (b"220-mx\r\n220-b\r\n220 c\r\n",),
    ),
    "smtp server, HELO": Case("smtp server", ((b"", 1), (b"HELO a\r\n", -1)), (b"220 mx\r\n",), wrong=True),
    "smtp server, no STARTTLS": Case(
        "smtp server", ((b"", 1), (b"EHLO a\r\n", 2), (b"MAIL FROM:<>\r\n", -1)), (b"220 mx\r\n",), wrong=True
    ),
    "smtp server, busy": Case("smtp server", ((b"", -1),), (b"421 busy\r\n",), wrong=True),
    "pop3 server": Case("pop3 server", ((b"", 1), (b"CAPA\r\n", 3), (b"STLS\r\n", 1)), (b"+OK hi\r\n",)),
    "pop3 server, in clear": Case(
        "pop3 server", ((b"", 1), (b"USER a\r\n", -1)), (b"+OK hi\r\n",), wrong=True
    ),
    "imap server": Case(
        "imap server",
        ((b"", 1), (b"1 CAPABILITY\r\n", 2), (b"2 starttls\r\n", 1)),
        (b"* OK [CAPABILITY IMAP4] hi\r\n", b"* CAPABILITY IMAP4 IDLE\r\n1 OK done\r\n"),
    ),
    "imap server, LOGOUT": Case(
        "imap server",
        ((b"", 1), (b"1 LOGOUT\r\n", -1)),
        (b"* OK hi\r\n", b"* BYE\r\nstunnel OK\r\n"),
        wrong=True,
    ),
    "imap server, in clear": Case(
        "imap server",
        ((b"", 1), (b"1 NOOP\r\n", -1)),
        (b"* OK hi\r\n", b"* BYE\r\nstunnel OK\r\n"),
        wrong=True,
    ),
    "imap server, BYE": Case("imap server", ((b"", -1),), (b"* BYE busy\r\n",), wrong=True),
    "smtp client": Case(
        "smtp client",
        ((b"", 2),),
        (b"220-a\r\n220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"220-a\r\n220 go\r\n"),
    ),
    "smtp client, no EHLO": Case(
        "smtp client", ((b"", 1), (b"", -1)), (b"220 mx\r\n", b"502 no\r\n"), wrong=True
    ),
    "smtp client, no TLS": Case(
        "smtp client", ((b"", 1), (b"", -1)), (b"220 mx\r\n", b"250 mx\r\n", b"454 no\r\n"), wrong=True
    ),
    "pop3 client": Case("pop3 client", ((b"", 1),), (b"+OK hi\r\n", b"+OK go\r\n")),
    "pop3 client, busy": Case("pop3 client", ((b"", -1),), (b"-ERR busy\r\n",), wrong=True),
    "pop3 client, no TLS": Case(
        "pop3 client", ((b"", 1), (b"", -1)), (b"+OK hi\r\n", b"-ERR no\r\n"), wrong=True
    ),
    "imap client": Case("imap client", ((b"", 1),), (b"* OK hi\r\n", b"@TAG@ OK go\r\n")),
    "imap client, no TLS": Case(
        "imap client", ((b"", -1),), (b"* OK hi\r\n", b"@TAG@ BAD no\r\n"), wrong=True
    ),
    "imap client, BYE": Case("imap client", ((b"", -1),), (b"* BYE busy\r\n",), wrong=True),
    "nntp client": Case("nntp client", ((b"", 1),), (b"200 hi\r\n", b"382 go\r\n")),
    "nntp client, busy": Case("nntp client", ((b"", -1),), (b"400 busy\r\n",), wrong=True),
    "nntp client, no TLS": Case(
        "nntp client", ((b"", 1), (b"", -1)), (b"201 hi\r\n", b"580 no\r\n"), wrong=True
    ),
}
SERVICES = sorted({each.service for each in CASES.values()})


class Far:
    """A scripted server for one conversation at a time."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.heard = b""
        self.greeted = threading.Event()  # the client has read what came first: a reset may take that away
        self.finished = threading.Event()  # the client has seen all that it wanted

    def play(self, answers: tuple[bytes, ...], tag: bytes) -> threading.Thread:
        """Take the next connection, and say the answers; ``heard`` has all lines in clear when it ends."""
        self.greeted.clear()
        self.finished.clear()
        thread = threading.Thread(target=self._serve, args=(answers, tag))
        thread.start()
        return thread

    def _serve(self, answers: tuple[bytes, ...], tag: bytes) -> None:
        self.heard = b""
        sock, _ = self.listener.accept()
        with sock, sock.makefile("rb") as stream:
            sock.settimeout(SECONDS)
            try:
                for number, answer in enumerate(answers):
                    if number:
                        self.greeted.wait(SECONDS)
                    sock.sendall(answer.replace(b"@TAG@", tag))
                    line = stream.readline(1)
                    if line == b"\x16":  # a ClientHello: our end would reset the client, and its last line
                        self.finished.wait(SECONDS)
                    if line in (b"\x16", b""):
                        return
                    self.heard += line + stream.readline()
                stream.read()
            except OSError:
                return


def _near(port: int, turns: tuple[tuple[bytes, int], ...], greeted: threading.Event) -> tuple[bytes, str]:
    """What a client was told, and how it ended."""
    text = bytearray()
    try:
        ended = _told(port, turns, text, greeted)
    except ConnectionResetError:  # perhaps as early as in connect(2)
        return bytes(text), "reset"
    return bytes(text), "closed" if ended else "TLS"


def _told(port: int, turns: tuple[tuple[bytes, int], ...], text: bytearray, greeted: threading.Event) -> bool:
    """Hold the client's turns; whether the last of them was to wait for the end."""
    lines = 0
    with socket.create_connection(("127.0.0.1", port), SECONDS) as sock, sock.makefile("rb") as stream:
        for said, lines in turns:
            sock.sendall(said)
            for _ in range(lines):
                text += stream.readline()
            greeted.set()
            while lines < 0 and (line := stream.readline()):
                text += line
    return lines < 0


@dataclass(frozen=True)
class Both:
    """The ports of both programs' services, and the server behind both."""

    ports: dict[Kind, dict[str, int]]
    far: Far


@pytest.fixture(scope="module")
def both(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Culvert and stunnel, with the same configuration."""
    need(Kind.STUNNEL)
    with ExitStack() as stack:
        listener = stack.enter_context(listening())
        listener.settimeout(SECONDS)
        ports = {}
        for kind in (Kind.STUNNEL, Kind.CULVERT):
            ports[kind] = {name: stack.enter_context(reserved_port()) for name in SERVICES}
            text = TOP + "".join(_section(pki, name, port, listener) for name, port in ports[kind].items())
            folder: Path = tmp_path_factory.mktemp(kind.value)
            places = [("127.0.0.1", port) for port in ports[kind].values()]
            stack.enter_context(running(kind, text, folder, listens=places))
        yield Both(ports, Far(listener))


def _section(pki: Pki, name: str, port: int, listener: socket.socket) -> str:
    protocol, mode = name.split()
    own = "client = yes" if mode == "client" else f"cert = {pki.server.both}"
    far = listener.getsockname()[1]
    lines = f"accept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{far}\nprotocol = {protocol}\n{own}\n"
    return f"[{name}]\n{lines}"


def _plain(text: bytes) -> bytes:
    """Without what is different on purpose."""
    return (
        text.replace(b"stunnel", b"culvert").replace(b"Stunnel", b"Culvert").replace(b" LOGINDISABLED", b"")
    )


@pytest.mark.parametrize("name", CASES)
def test_the_conversation_is_stunnels(both: Both, name: str) -> None:
    case = CASES[name]
    seen = {}
    for kind in (Kind.STUNNEL, Kind.CULVERT):
        playing = both.far.play(case.far, b"stunnel" if kind is Kind.STUNNEL else b"culvert")
        told, ending = _near(both.ports[kind][case.service], case.near, both.far.greeted)
        both.far.finished.set()
        playing.join()
        seen[kind] = (_plain(told), ending, _plain(both.far.heard))
    assert seen[Kind.CULVERT] == seen[Kind.STUNNEL]
    assert (seen[Kind.CULVERT][1] != "TLS") == case.wrong
