"""A running tunnel with a scripted peer on each side.

    with Crossing(Kind.CULVERT, Variant("server", "TLSv1.3", "tcp"), certificate) as crossing:
        tls, plain = crossing.connect()

In server mode the TLS peer connects to the tunnel and the plain peer is its backend; in client mode the plain
peer connects and the TLS peer is the server behind.  Connections are made one after the other, so that the
two ends that ``connect`` gives belong together; what they do afterwards may overlap with others.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

from tests.proxies.configuration import Mode, TunnelText, place_text
from tests.proxies.plain import PlainPeer
from tests.proxies.procfs import Place
from tests.proxies.running import Kind, Proxy, running
from tests.proxies.seen import Deadline
from tests.proxies.tls import TlsPeer, client_context, server_context

Sockets = Literal["tcp", "unix"]
CONNECT_SECONDS = 15.0
SMALL = 4096
"""The receive buffer of a slow reader, octets."""
USUAL = 131_072


class Variant(NamedTuple):
    """One way to set up a tunnel."""

    mode: Mode
    version: str
    sockets: Sockets
    """Kind of socket on the side without TLS."""

    def __str__(self) -> str:
        return f"{self.mode}-{self.version}-{self.sockets}"


class Crossing:
    """The tunnel, the listener of its far end, and the pairs of peers that are still open."""

    def __init__(
        self,
        kind: Kind,
        variant: Variant,
        certificate: Path,
        *,
        options: Mapping[str, str] | None = None,
        top: Mapping[str, str] | None = None,
    ) -> None:
        self.kind, self.variant = kind, variant
        self.proxy: Proxy
        self._certificate, self._options, self._top = certificate, options or {}, top or {}
        self._turn = threading.Lock()
        self._exit = contextlib.ExitStack()
        self._narrow = False
        self._server_side = variant.mode == "server"
        self.context = (
            client_context(variant.version)
            if self._server_side
            else server_context(variant.version, certificate)
        )

    def __enter__(self) -> Crossing:
        with contextlib.ExitStack() as stack:
            # A short path: that of a Unix socket has at most 107 octets.
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="culvert-")))
            self.folder.chmod(0o755)  # hitch connects as nobody
            unix = self.variant.sockets == "unix"
            self.far = stack.enter_context(
                listening(self._path("far.sock") if unix and self._server_side else None)
            )
            own = self._path("near.sock") if unix and not self._server_side else "127.0.0.1:@PORT@"
            text = TunnelText(
                mode=self.variant.mode,
                accept=own,
                connect=(place_text(self.far.getsockname()),),
                certificate=self._certificate,
                options=self._options,
                top=self._top,
            ).text(self.kind)
            listens = [own] if own.startswith("/") else None
            self.proxy = stack.enter_context(running(self.kind, text, self.folder, listens=listens))
            self.near: Place = own if own.startswith("/") else self.proxy.address
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.__exit__(kind, error, trace)

    def connect(
        self,
        *,
        tls_buffer: int | None = None,
        plain_buffer: int | None = None,
        shake: Callable[[TlsPeer, Deadline], None] | None = None,
        session: ssl.SSLSession | None = None,
    ) -> tuple[TlsPeer, PlainPeer]:
        """Make one connection through the tunnel; both peers are the caller's to close (``pair`` does it).

        tls_buffer, plain_buffer: receive buffer of that peer in octets, set before its connection is made.
        shake: what the TLS peer does as its handshake, by default TlsPeer.handshake.
        Raises PeerTrouble or OSError when one of the ends is not reached.
        """
        deadline = Deadline(CONNECT_SECONDS)
        near, far = (tls_buffer, plain_buffer) if self._server_side else (plain_buffer, tls_buffer)
        with self._turn, contextlib.ExitStack() as stack:
            self._receive_buffer(far)
            first = stack.enter_context(dial(self.near, deadline, near))
            if self._server_side:
                tls = TlsPeer(first, self.context, server=False, session=session)
                (shake or TlsPeer.handshake)(tls, deadline)
                plain = PlainPeer(stack.enter_context(self._accept(deadline)))
            else:
                plain = PlainPeer(first)
                tls = TlsPeer(stack.enter_context(self._accept(deadline)), self.context, server=True)
                (shake or TlsPeer.handshake)(tls, deadline)
            stack.pop_all()
        return tls, plain

    @contextlib.contextmanager
    def pair(
        self,
        *,
        tls_buffer: int | None = None,
        plain_buffer: int | None = None,
        shake: Callable[[TlsPeer, Deadline], None] | None = None,
        session: ssl.SSLSession | None = None,
    ) -> Iterator[tuple[TlsPeer, PlainPeer]]:
        """``connect`` whose peers are closed when the block ends."""
        tls, plain = self.connect(
            tls_buffer=tls_buffer, plain_buffer=plain_buffer, shake=shake, session=session
        )
        with tls.sock, plain.sock:
            yield tls, plain

    def dial(self, receive_buffer: int | None = None) -> socket.socket:
        """Connect to the tunnel and do no more; the socket is the caller's to close."""
        return dial(self.near, Deadline(CONNECT_SECONDS), receive_buffer)

    def accept(self, seconds: float = CONNECT_SECONDS) -> socket.socket:
        """Accept what the tunnel connects to its far end; the socket is the caller's to close."""
        return self._accept(Deadline(seconds))

    def nobody_came(self, seconds: float) -> bool:
        """Wait that long for a connection to the far end, and tell whether there was none."""
        try:
            self.accept(seconds).close()
        except TimeoutError:
            return True
        return False

    def _path(self, name: str) -> str:
        return str(self.folder / name)

    def _accept(self, deadline: Deadline) -> socket.socket:
        self.far.settimeout(deadline.left())
        return self.far.accept()[0]

    def _receive_buffer(self, octets: int | None) -> None:
        """What is set on a listener holds for the connections that come: it must be there before they do."""
        if octets is None and not self._narrow:
            return  # leaves the kernel's own tuning in place
        self._narrow = True
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets or USUAL)


@contextlib.contextmanager
def listening(path: str | None = None, *, backlog: int = 128) -> Iterator[socket.socket]:
    """A listener on a Unix socket path, or on a free port of 127.0.0.1."""
    family = socket.AF_UNIX if path else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind(path or ("127.0.0.1", 0))
        if path:
            Path(path).chmod(0o666)  # hitch connects as nobody
        sock.listen(backlog)
        yield sock


def dial(place: Place, deadline: Deadline, receive_buffer: int | None = None) -> socket.socket:
    """Connect to ``place``; the receive buffer is set before, so that the window is small from the start."""
    sock = socket.socket(socket.AF_UNIX if isinstance(place, str) else socket.AF_INET)
    try:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(deadline.left())
        sock.connect(place)
    except OSError:
        sock.close()
        raise
    return sock
