"""What the daemon's tests need around it: an echo service, a configuration, clients, its processes."""

from __future__ import annotations

import os
import select
import selectors
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.pki import Pki
from tests.proxies.procfs import tree
from tests.proxies.running import Kind, Proxy, running

PATIENCE = 15.0


class Echo:
    """Sends back what it gets, on a port of 127.0.0.1, in a thread of its own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._waker, self._wake = socket.socketpair()
        self._selector.register(self._waker, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.port: int = self._listener.getsockname()[1]

    def close(self) -> None:
        self._wake.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._waker:
                    return
                if key.fileobj is self._listener:
                    self._selector.register(self._listener.accept()[0], selectors.EVENT_READ)
                else:
                    self._answer(key.fileobj)  # type: ignore[arg-type]

    def _answer(self, sock: socket.socket) -> None:
        with suppress(OSError):
            if data := sock.recv(65536):
                sock.sendall(data)
                return
        self._selector.unregister(sock)
        sock.close()


@contextmanager
def echoing() -> Iterator[Echo]:
    """An echo service for the time of the block."""
    echo = Echo()
    try:
        yield echo
    finally:
        echo.close()


def configuration(pki: Pki, backend: int, *, accept: str = "127.0.0.1:@PORT@", more: str = "") -> str:
    """A foreground daemon with one service in server mode; `more` are lines of the global part."""
    return f"""\
foreground = yes
syslog = no
debug = info
workers = 1
{more}
[web]
accept = {accept}
connect = 127.0.0.1:{backend}
cert = {pki.server.both}
"""


@contextmanager
def culvert(text: str, folder: Path, **more: object) -> Iterator[Proxy]:
    """The daemon with this configuration, accepting."""
    with running(Kind.CULVERT, text, folder, **more) as proxy:  # type: ignore[arg-type]
        proxy.wait_line("Accepting new connections")
        yield proxy


def rewrite(proxy: Proxy, text: str) -> None:
    """Put another configuration in the place of the one that the daemon was started with."""
    text = text.replace("@PORT@", str(proxy.port)).replace("@FOLDER@", str(proxy.folder))
    (proxy.folder / "culvert.conf").write_text(text)


def reload(proxy: Proxy, *, broken: bool = False) -> None:
    """Send SIGHUP and wait until it was obeyed or refused."""
    line = "Failed to reload the configuration file" if broken else "Accepting new connections"
    before = proxy.output.count(line)
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_line(line, count=before + 1)


def context(pki: Pki) -> ssl.SSLContext:
    """What a client of the service believes."""
    return ssl.create_default_context(cafile=str(pki.root.ca))


def connect(
    pki: Pki,
    place: tuple[str, int],
    believes: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """A tunnel to the service, handshake done; ``session``, of the context ``believes``, is offered."""
    raw = socket.create_connection(place, timeout=PATIENCE)
    try:
        believes = believes or context(pki)
        return believes.wrap_socket(
            raw, server_hostname="localhost", suppress_ragged_eofs=False, session=session
        )
    except BaseException:
        raw.close()
        raise


def ask(tunnel: ssl.SSLSocket, text: bytes = b"hello") -> None:
    """Send something and have it back."""
    tunnel.sendall(text)
    got = b""
    while len(got) < len(text):
        data = tunnel.recv(65536)
        assert data, "the tunnel ended"
        got += data
    assert got == text


def ask_once(pki: Pki, place: tuple[str, int]) -> None:
    """Connect, ask, and close in an orderly way."""
    with connect(pki, place) as tunnel:
        ask(tunnel)
        tunnel.unwrap().close()


def workers(proxy: Proxy) -> list[int]:
    """The numbers of the daemon's worker processes."""
    return [pid for pid in tree(proxy.process.pid) if pid != proxy.process.pid]


def gone(pid: int, seconds: float = PATIENCE) -> bool:
    """Wait for the end of any process, not only of a child; False when it goes on."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def resident(pid: int) -> int:
    """Resident memory of a process that is its own, in KiB: what it does not share with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
