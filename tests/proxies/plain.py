"""The scripted peer on the side without TLS: it does to its socket exactly what it is told."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios
import time
from dataclasses import dataclass

from tests.proxies.seen import Deadline, PeerTrouble, Seen, Tally, Wire

LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Pace:
    """How a peer reads: at most ``octets`` at once, then a pause in seconds."""

    octets: int = 262_144
    pause: float = 0.0


EAGER = Pace()
SLOW = Pace(16_384, 0.002)
"""The slow reader of the measured table: 16 KiB in 2 ms, to be used with a receive buffer of 4096."""


class SocketPeer:
    """What both scripted peers share: the raw socket and its endings.  It owns the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.tally = Tally()
        self.wire: Wire | None = None
        self.half_closed = False
        self.patience = 0.0
        """Seconds that an end of file on a Unix socket may wait to turn out as a hang-up."""
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def is_unix(self) -> bool:
        return self.sock.family == socket.AF_UNIX

    def send_raw(self, data: bytes, deadline: Deadline) -> None:
        """Put octets on the wire.  PeerTrouble when the other end is gone or does not take them in time."""
        self.sock.settimeout(deadline.left())
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise PeerTrouble(f"sending: {error.strerror}") from error
        except TimeoutError as error:
            raise PeerTrouble(f"sending: not taken: {error}") from error

    def send_singly(self, data: bytes, deadline: Deadline) -> None:
        """Put octets on the wire, one segment each."""
        for index in range(len(data)):
            self.send_raw(data[index : index + 1], deadline)

    def fill(self, block: bytes, deadline: Deadline, quiet: float = 0.4) -> int:
        """Send ``block`` until nothing was taken for ``quiet`` seconds; give the octets taken."""
        taken = 0
        self.sock.settimeout(0)
        while select.select([], [self.sock], [], quiet)[1]:
            try:
                taken += self.sock.send(block)
            except BlockingIOError:
                continue
            except (BrokenPipeError, ConnectionResetError) as error:
                raise PeerTrouble(f"filling: {error.strerror}") from error
            if time.monotonic() > deadline.at:
                raise PeerTrouble(f"filling: no end after {taken} octets")
        return taken

    def fin(self) -> None:
        """End our direction on the socket itself; reading goes on."""
        self.half_closed = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise PeerTrouble(f"shutdown: {error.strerror}") from error

    def reset(self) -> None:
        """Abort with a RST; what is unsent is lost.  A Unix socket knows no such thing (see wait_unread)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.sock.close()

    def close(self) -> None:
        """Close at once, whatever is unread: a TCP socket with unread octets sends a RST instead of a FIN."""
        self.sock.close()

    def wait_unread(self, octets: int, deadline: Deadline) -> None:
        """Wait until that many octets lie unread in our socket."""
        waiting = 0
        while waiting < octets:
            if not select.select([self.sock], [], [], deadline.left())[0]:
                raise PeerTrouble(f"only {waiting} octets arrived unread")
            # With an end of file behind fewer octets this would spin: the deadline stops it.
            waiting = struct.unpack("i", fcntl.ioctl(self.sock, termios.FIONREAD, bytes(4)))[0]
            if time.monotonic() > deadline.at:
                raise PeerTrouble(f"only {waiting} octets arrived unread")

    def wait_sent(self, deadline: Deadline) -> None:
        """Wait until the other end's kernel has acknowledged all that we sent (TCP)."""
        poll = select.poll()
        poll.register(self.sock, 0)  # errors are always reported
        while self.unsent():
            if poll.poll(1) or time.monotonic() > deadline.at:
                raise PeerTrouble("sent octets were never acknowledged")

    def unsent(self) -> int:
        """Octets in our socket that the other end's kernel has not acknowledged (TCP)."""
        return int(struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)))[0])

    def receive(self, pace: Pace, deadline: Deadline) -> bytes:
        """Read once; b"" after an ending, which ``self.wire`` then tells."""
        self.sock.settimeout(deadline.left())
        try:
            data = self.sock.recv(pace.octets)
        except TimeoutError:
            self.wire = Wire.NOTHING
            return b""
        except (ConnectionResetError, BrokenPipeError):
            self.wire = Wire.RESET
            return b""
        if not data:
            self.wire = self._end_of_file()
        elif pace.pause:
            time.sleep(pace.pause)  # the slow reader is what is being played
        return data

    def _end_of_file(self) -> Wire:
        """Tell a half-close from a hang-up, which only a Unix socket shows, and only before ours."""
        if not self.is_unix or self.half_closed:
            return Wire.FIN
        return Wire.HANGUP if self._hung_up(self.patience) else Wire.FIN

    def _hung_up(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for both directions to be closed by the other end."""
        poll = select.poll()
        poll.register(self.sock, 0)  # POLLHUP is always reported
        return bool(poll.poll(seconds * 1000))


class PlainPeer(SocketPeer):
    """A client or a backend that speaks in clear."""

    def send(self, data: bytes, deadline: Deadline) -> None:
        self.send_raw(data, deadline)

    def read(self, octets: int, deadline: Deadline, pace: Pace = EAGER) -> None:
        """Read until ``octets`` have arrived in all.  PeerTrouble when the stream ends before."""
        while self.tally.octets < octets:
            data = self.receive(pace, deadline)
            if not data:
                raise PeerTrouble(f"wanted {octets} B, saw {self.seen()}")
            self.tally.add(data)

    def read_to_end(self, deadline: Deadline, pace: Pace = EAGER) -> Seen:
        """Read until the stream ends, however it does, or the deadline is over."""
        while self.wire is None:
            self.tally.add(self.receive(pace, deadline))
        return self.seen()

    def seen(self) -> Seen:
        """What has arrived until now; an ending not met yet counts as none."""
        return self.tally.seen(self.wire or Wire.NOTHING)
