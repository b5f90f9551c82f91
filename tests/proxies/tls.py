"""The scripted TLS peer: Python's TLS in memory over a raw socket, so that every octet on the wire and every
ending is under the script's control.

``hold`` collects what TLS wants to write and sends nothing; ``flush`` puts it on the wire in one segment.  So
the last handshake flight and the first record can share a segment, or an alert can be left out altogether.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from tests.proxies.plain import EAGER, Pace, SocketPeer
from tests.proxies.seen import Deadline, PeerTrouble, Seen, Wire, tls_error

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
RECORD = 16_384


def client_context(version: str) -> ssl.SSLContext:
    """A client that takes any certificate and speaks that version only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def server_context(version: str, certificate: Path) -> ssl.SSLContext:
    """A server with key and chain from one PEM file that speaks that version only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


class TlsPeer(SocketPeer):
    """A TLS client (of a tunnel in server mode) or a TLS server (behind a tunnel in client mode)."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server: bool,
        session: ssl.SSLSession | None = None,
    ) -> None:
        super().__init__(sock)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server else "localhost"
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server, name, session)
        self.close_notify = False
        self.trouble = ""
        self.singly = False
        """Send every octet in a segment of its own."""

    # Sending

    def handshake(self, deadline: Deadline, *, keep_last_flight: bool = False) -> None:
        """Shake hands.  ``keep_last_flight``: our last octets wait for the next flush."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush(deadline)
                self._feed_or_fail(deadline)
            except ssl.SSLError as error:
                self.flush(deadline)
                raise PeerTrouble(f"handshake: {tls_error(error)}") from error
        if not keep_last_flight:
            self.flush(deadline)

    def hold(self, data: bytes) -> None:
        """Encrypt into records of at most 16 KiB, and keep them."""
        for start in range(0, len(data), RECORD):
            self.tls.write(data[start : start + RECORD])

    def held(self) -> bytes:
        """Take what waits to be sent; it is then the caller's."""
        return self._outgoing.read()

    def flush(self, deadline: Deadline) -> None:
        """Put all that waits on the wire, with one call, so that it shares segments."""
        data = self.held()
        if self.singly:
            self.send_singly(data, deadline)
        elif data:
            self.send_raw(data, deadline)

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Encrypt and send, a few records at a time."""
        for start in range(0, len(data), 4 * RECORD):
            self.hold(data[start : start + 4 * RECORD])
            self.flush(deadline)

    def hold_close_notify(self) -> None:
        """Put our close_notify behind what waits; nothing can be sent after it, reading goes on."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass  # it is written; only the answer of the other end is missing
        except ssl.SSLError as error:
            raise PeerTrouble(f"close_notify: {tls_error(error)}") from error

    def send_close_notify(self, deadline: Deadline) -> None:
        self.hold_close_notify()
        self.flush(deadline)

    # Receiving

    def read(self, octets: int, deadline: Deadline, pace: Pace = EAGER) -> None:
        """Read until ``octets`` have arrived in all.  PeerTrouble when the stream ends before."""
        self._decrypt()
        while self.tally.octets < octets:
            if self.close_notify or not self._feed(deadline, pace):
                raise PeerTrouble(f"wanted {octets} B, saw {self.seen()}")
            self._decrypt()

    def read_until_close_notify(self, deadline: Deadline) -> None:
        """Read until the other end says that it has no more.  PeerTrouble when it ends otherwise."""
        self._decrypt()
        while not self.close_notify:
            if not self._feed(deadline, EAGER):
                raise PeerTrouble(f"wanted close_notify, saw {self.seen()}")
            self._decrypt()

    def read_to_end(self, deadline: Deadline, pace: Pace = EAGER) -> Seen:
        """Read until the socket ends, however it does, or the deadline is over."""
        self._decrypt()
        while self.wire is None:
            if self._feed(deadline, pace):
                self._decrypt()
        return self.seen()

    def seen(self) -> Seen:
        """What has arrived until now; an ending not met yet counts as none."""
        wire = self.wire or Wire.NOTHING
        return self.tally.seen(wire, close_notify=self.close_notify, trouble=self.trouble)

    def _feed(self, deadline: Deadline, pace: Pace) -> bool:
        data = self.receive(pace, deadline)
        self._incoming.write(data)
        return bool(data)

    def _feed_or_fail(self, deadline: Deadline) -> None:
        if not self._feed(deadline, EAGER):
            assert self.wire is not None
            raise PeerTrouble(f"handshake: {self.wire.value}")

    def _decrypt(self) -> None:
        """Take all that the octets received so far contain."""
        while not (self.close_notify or self.trouble):
            try:
                data = self.tls.read(262_144)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as error:
                self.trouble = tls_error(error)
                return
            self.close_notify = not data
            self.tally.add(data)
