"""Culvert in both modes, programs of other projects, and a plain service that answers with a digest."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.interop.sections import as_user
from tests.pki import Pki
from tests.proxies import Kind, Proxy, TunnelText, listening, need, need_program, payload, running
from tests.proxies.configuration import Mode, place_text
from tests.proxies.procfs import Place

MIB = 1 << 20
BIG = 64 * MIB
SECONDS = 60.0
BODY = payload(MIB) * (BIG // MIB)
DIGEST = hashlib.sha256(BODY).hexdigest()

Start = Callable[..., Proxy]


class Service:
    """A plain TCP service: takes a number in 8 octets, then so many octets; answers with their SHA-256 in hex
    and with its reply; then waits until the client has ended.

    Nobody ends before all has arrived, so a middle man who cannot half-close is not asked to.
    """

    def __init__(self, sock: socket.socket, reply: bytes) -> None:
        self.address: tuple[str, int] = sock.getsockname()
        self._reply, self._sock = reply, sock
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of it, after its listener was shut down."""
        self._thread.join(SECONDS)

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return  # the listener was shut down
            with sock, contextlib.suppress(OSError):  # what ends a connection early, the client tells
                self._answer(sock)

    def _answer(self, sock: socket.socket) -> None:
        sock.settimeout(SECONDS)
        digest = hashlib.sha256()
        with sock.makefile("rb") as stream:
            (left,) = struct.unpack("!Q", stream.read(8))
            while left and (data := stream.read(min(left, MIB))):
                digest.update(data)
                left -= len(data)
            sock.sendall(digest.hexdigest().encode() + self._reply)
            stream.read(1)


@pytest.fixture
def service() -> Iterator[Callable[[bytes], Service]]:
    """Start services: ``service(reply)``."""
    with ExitStack() as stack:

        def start(reply: bytes) -> Service:
            sock = stack.enter_context(listening())
            made = Service(sock, reply)
            stack.callback(made.join)
            stack.callback(sock.shutdown, socket.SHUT_RDWR)
            return made

        yield start


@pytest.fixture
def start(pki: Pki, tmp_path: Path) -> Iterator[Start]:
    """Start tunnels of any make: ``start(Kind.CULVERT, "server", address, sslVersion="TLSv1.2")``."""
    with ExitStack() as stack:

        def begin(
            kind: Kind, mode: Mode, far: Place, top: Mapping[str, str] | None = None, **options: str
        ) -> Proxy:
            need(kind)
            text = TunnelText(
                mode=mode,
                connect=(place_text(far),),
                certificate=pki.server.both,
                options=options,
                top=top or {},
            ).text(kind)
            folder = tmp_path / f"{kind.value}-{mode}"
            return stack.enter_context(running(kind, text, folder))

        yield begin


def verified(pki: Pki) -> dict[str, str]:
    """Options of a client that checks chain and name of the test server."""
    return {"CAfile": str(pki.ca), "verifyChain": "yes", "checkHost": "localhost", "sni": "localhost"}


def run(
    name: str, *arguments: str | Path, data: bytes = b"", seconds: float = SECONDS
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end with ``data`` as its standard input."""
    command = [need_program(name), *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, timeout=seconds, check=False)


@contextmanager
def spawned(
    name: str, *arguments: str | Path, folder: Path | None = None, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program beside the test, in ``folder``; it is killed at the end of the block.

    user: who it becomes where we are root.
    """
    own = as_user(user) if user else {}
    process = subprocess.Popen(
        [need_program(name), *map(str, arguments)],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        user=own.get("user"),
        group=own.get("group"),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def exchange(address: Place, sent: bytes, wanted: int) -> tuple[str, bytes]:
    """Hand ``sent`` to a Service; give the digest that it says it saw, and its reply."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as sock:
        sock.settimeout(SECONDS)
        sock.connect(address)
        sock.sendall(struct.pack("!Q", len(sent)))
        sock.sendall(sent)
        with sock.makefile("rb") as stream:
            return stream.read(64).decode(), stream.read(wanted)
