"""stunnel's protocol for a server of TLS sessions: one datagram, and for `get` one answer.

A packet: version (1 octet, 1), type, seconds until the session expires (u16, big endian, at most LONGEST),
its id padded with zeros to 32 octets, then at most MOST octets of the session in DER.  Requests are NEW, GET
and REMOVE; GET alone is answered, by OK with the session or by ERROR.

The protocol has no authentication and no encryption: whoever can send in the server's name can give out
sessions of his own making.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from culvert.net.addresses import Endpoint

NEW, GET, REMOVE, ERROR, OK = 0x00, 0x01, 0x02, 0x80, 0x81
LONGEST: Final = 64800
"""Seconds; what is to live longer lives as long."""
MOST: Final = 512
"""Octets of a session."""
PACKET_MAX: Final = 36 + MOST

PATIENCE: Final = 0.04
"""Seconds that a handshake waits for an answer, so that with a late timer it is no more than 0.05.  stunnel
means 0.2, and waits for 0.0002."""

_HEAD: Final = struct.Struct(">BBH32s")
_READS: Final = 64
_NAMES: Final = {NEW: "new", GET: "get", REMOVE: "remove"}
_ERR, _INFO, _DEBUG = 3, 6, 7

Say = Callable[[int, str], None]


class Packet(NamedTuple):
    """One datagram.

    key: 32 octets, padded.
    """

    kind: int
    seconds: int
    key: bytes
    session: bytes

    @property
    def octets(self) -> bytes:
        return _HEAD.pack(1, self.kind, min(self.seconds, LONGEST), self.key) + self.session


def parse(octets: bytes) -> Packet | None:
    """What a datagram says; None when it is too short, too long or of another version."""
    if not _HEAD.size <= len(octets) <= PACKET_MAX:
        return None
    version, kind, seconds, key = _HEAD.unpack_from(octets)
    return Packet(kind, seconds, key, octets[_HEAD.size :]) if version == 1 else None


class SessiondClient:
    """Asks a server of sessions, from one process.

    No method blocks, and fetch() waits for PATIENCE at most.  When an answer does not come in time, nobody
    waits for one any more; questions are still sent, and the first answer shows that the server is back.
    """

    def __init__(self, server: Endpoint, loop: asyncio.AbstractEventLoop, say: Say) -> None:
        """say: takes (level, line).  Raises OSError."""
        self._loop, self._say = loop, say
        self._waiting: dict[bytes, list[asyncio.Future[bytes | None]]] = {}
        self._silent = False
        self._socket = socket.socket(server.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(server.sockaddr)
        except OSError:
            self._socket.close()
            raise
        loop.add_reader(self._socket, self._readable)

    def close(self) -> None:
        """Let everybody who waits go on without an answer."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._give_up()

    def keep(self, key: bytes, session: bytes, seconds: int) -> None:
        """Have a session stored; one that is too long for the protocol is not sent."""
        if len(session) > MOST:
            self._say(_ERR, f"cache_transfer: encoded session too big ({len(session)} bytes)")
        else:
            self._send(NEW, key, seconds, session)

    def forget(self, key: bytes) -> None:
        """Have a session removed."""
        self._send(REMOVE, key)

    async def fetch(self, key: bytes) -> bytes | None:
        """The session with that id; None when there is none, or when nobody says so in time."""
        if len(key) > 32:
            return None
        padded = key.ljust(32, b"\0")
        if self._silent:
            self._send(GET, key)
            return None
        future: asyncio.Future[bytes | None] = self._loop.create_future()
        self._waiting.setdefault(padded, []).append(future)
        timer = self._loop.call_later(PATIENCE, self._expire, padded, future)
        self._send(GET, key)
        try:
            return await future
        finally:
            timer.cancel()
            self._drop(padded, future)

    def _expire(self, key: bytes, future: asyncio.Future[bytes | None]) -> None:
        if not future.done():
            self._silent = True
            self._say(_INFO, "cache_transfer: recv timeout")
            future.set_result(None)

    def _drop(self, key: bytes, future: asyncio.Future[bytes | None]) -> None:
        waiting = self._waiting.get(key, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._waiting.pop(key, None)

    def _send(self, kind: int, key: bytes, seconds: int = 0, session: bytes = b"") -> None:
        seconds = min(seconds, LONGEST)
        self._say(
            _INFO,
            f"cache_transfer: request={_NAMES[kind]}, timeout={seconds}, id={key.hex().upper()}, "
            f"length={len(session)}",
        )
        octets = Packet(kind, seconds, key.ljust(32, b"\0"), session).octets
        for _ in range(2):
            try:
                self._socket.send(octets)
                return
            except BlockingIOError:
                return  # the kernel's queue is full: as lost as on the way
            except OSError:  # of a datagram before this one: nobody listens there
                self._give_up()

    def _give_up(self) -> None:
        self._silent = True
        for futures in self._waiting.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)

    def _readable(self) -> None:
        for _ in range(_READS):
            try:
                octets = self._socket.recv(PACKET_MAX + 1)
            except BlockingIOError:
                return
            except OSError:
                self._give_up()
                return
            self._received(octets)

    def _received(self, octets: bytes) -> None:
        packet = parse(octets)
        if packet is None or packet.kind not in (OK, ERROR):
            self._say(_DEBUG, "cache_transfer: malformed packet received")
            return
        self._silent = False
        if packet.kind == ERROR:
            self._say(_INFO, "cache_transfer: session not found")
        for future in self._waiting.get(packet.key, ()):
            if not future.done():
                future.set_result(packet.session if packet.kind == OK else None)
