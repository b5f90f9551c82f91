"""Whose process is at the other end of a connection of this machine; Linux only.

For a Unix socket the kernel keeps the credentials of the process that called connect() (unix(7),
SO_PEERCRED and SO_PEERGROUPS).  For TCP the peer's socket is a socket of this machine too, and the kernel
tells its owner when it is asked for exactly that one (sock_diag(7)): the request is answered within
sendto(2), so nothing is waited for.  That owner is who made the socket; a process that was given the
descriptor later is not told apart from it.

A socket that no process holds any more is told with user 0.  That is not root: it has no inode either, and
nobody is believed to own it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

_SOCK_DIAG: Final = 4  # NETLINK_SOCK_DIAG, <linux/netlink.h>
_BY_FAMILY: Final = 20  # SOCK_DIAG_BY_FAMILY, <linux/sock_diag.h>
_REQUEST_FLAG: Final = 1  # NLM_F_REQUEST: one socket, no dump
_ANY_STATE: Final = 0xFFFFFFFF
_NO_COOKIE: Final = b"\xff" * 8  # INET_DIAG_NOCOOKIE

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_WANTED: Final = struct.Struct("=BBBBI")  # struct inet_diag_req_v2 up to its id
_ID: Final = struct.Struct("=2s2s16s16sI8s")  # struct inet_diag_sockid
_FOUND: Final = struct.Struct("=BBBB48xIIIII")  # struct inet_diag_msg; uid and inode are the last two
_CREDENTIALS: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_SO_PEERGROUPS: Final = 59
_GROUPS_OCTETS: Final = 1024  # what Python's getsockopt takes at most: 256 groups


@dataclass(frozen=True, slots=True)
class Owner:
    """A user, and the groups that are known of the process: none for TCP."""

    uid: int
    gids: frozenset[int] = frozenset()


class Owners:
    """Asks the kernel; one for a process.  Raises OSError where the kernel has no sock_diag."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._kernel = socket.socket(socket.AF_NETLINK, kind, _SOCK_DIAG)
        self._number = 0

    def close(self) -> None:
        self._kernel.close()

    def owner(self, sock: socket.socket) -> Owner | None:
        """Who has the other end of an accepted connection; None when nobody of this machine has it."""
        try:
            if sock.family == socket.AF_UNIX:
                return _of_unix(sock)
            return self._of_tcp(sock)
        except OSError:
            return None

    def _of_tcp(self, sock: socket.socket) -> Owner | None:
        ours, theirs = sock.getsockname(), sock.getpeername()
        self._number += 1
        body = _question(sock.family, theirs, ours)
        header = _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST_FLAG, self._number, 0)
        self._kernel.send(header + body)
        return self._answer()

    def _answer(self) -> Owner | None:
        while True:
            data = self._kernel.recv(4096)
            _, kind, _, number, _ = _HEADER.unpack_from(data)
            if number == self._number:
                break
        if kind != _BY_FAMILY or len(data) < _HEADER.size + _FOUND.size:
            return None
        *_, uid, inode = _FOUND.unpack_from(data, _HEADER.size)
        return Owner(uid) if inode else None


def _of_unix(sock: socket.socket) -> Owner:
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(raw)
    return Owner(uid, frozenset((gid, *_further_groups(sock))))


def _further_groups(sock: socket.socket) -> tuple[int, ...]:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_OCTETS)
    except OSError:  # more than fit, or a kernel before 4.13: then the first one has to do
        return ()
    return struct.unpack(f"={len(raw) // 4}I", raw)


def _question(family: int, source: Sequence[Any], destination: Sequence[Any]) -> bytes:
    """Ask for the one socket that is bound to `source` and connected to `destination`."""
    hosts = [_packed_host(family, each[0]) for each in (source, destination)]
    family = socket.AF_INET if len(hosts[0]) == 4 else socket.AF_INET6
    ports = [each[1].to_bytes(2, "big") for each in (source, destination)]
    wanted = _WANTED.pack(family, socket.IPPROTO_TCP, 0, 0, _ANY_STATE)
    scope = source[3] if len(source) > 3 else 0
    return wanted + _ID.pack(*ports, *hosts, scope, _NO_COOKIE)


def _packed_host(family: int, host: str) -> bytes:
    number = socket.inet_pton(family, host.partition("%")[0])
    if family == socket.AF_INET6 and number.startswith(bytes(10) + b"\xff\xff"):
        return number[12:]
    return number
