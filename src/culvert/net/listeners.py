"""Listening sockets: one for each address and worker slot, kept alive by the supervisor over reloads and
crashes.

A TCP address has one socket for each worker (SO_REUSEPORT), so that the kernel spreads connections without a
thundering herd.  A connection that waits in the queue of such a socket can only be accepted from that socket;
therefore a socket once opened stays open as long as its address is configured, and when workers become fewer
than sockets, one worker serves several of them (`Listening.for_worker`).  A Unix socket cannot be divided;
all workers share it.

SO_REUSEPORT alone would let a second daemon of the same user bind the same port without any error.  So the
first socket of an address is bound without it, which fails if anybody listens there, and gets it before
listen().

An address is known by what was configured (`Pool`), so that port 0, which the kernel turns into a real one,
finds its sockets again at the next reload.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from culvert.config.model import Service
from culvert.errors import SystemRefusal
from culvert.net import addresses, sockets, transparent, unixaccess
from culvert.net.addresses import Endpoint
from culvert.net.unixaccess import Access

Say = Callable[[int, str], object]
"""Takes the level (0-7) and the text of a log line; Log.write is one."""

WARNING, NOTICE, INFO, DEBUG = 4, 5, 6, 7


def say_nothing(_level: int, _text: str) -> None:
    """For callers without a log."""


@dataclass(eq=False)
class Listening:
    """One address that is listened on."""

    endpoint: Endpoint  # with the port that is really bound
    sockets: list[socket.socket]
    inode: tuple[int, int] | None = None  # of a Unix socket's path, to remove no other's
    activated: bool = False  # it was open when the daemon started, and stays open

    @property
    def is_shared(self) -> bool:
        """One socket, from which all workers accept."""
        return self.activated or self.endpoint.family == socket.AF_UNIX

    def for_worker(self, slot: int, workers: int) -> list[socket.socket]:
        """The sockets that worker `slot` of `workers` (0 .. workers-1) accepts from; none is left without
        one."""
        return self.sockets if self.is_shared else self.sockets[slot::workers]

    def close(self) -> None:
        """Close the sockets in this process; a Unix socket's path stays."""
        for sock in self.sockets:
            sock.close()

    def remove_path(self) -> bool:
        """Unlink the path of a Unix socket if it is still ours."""
        if self.inode is None or _inode(str(self.endpoint.sockaddr)) != self.inode:
            return False
        os.unlink(str(self.endpoint.sockaddr))
        return True


class _Key(NamedTuple):
    """A configured address.  Port 0 is another address for each service and line, told apart by `owner`."""

    endpoint: Endpoint
    owner: str


@dataclass(eq=False)
class Pool:
    """Every listening socket of a daemon, by configured address.

    `open` leaves what it finds and adds what is missing.  When all services have been opened, either `settle`
    closes what the new configuration does not want, or `undo` closes what was opened for it.

    activated: descriptors of listening sockets that a service manager has opened.  The n-th service that
    listens gets the n-th of them for all its addresses (sd_listen_fds(3)); they are neither closed nor
    unlinked.
    """

    activated: Sequence[int] = ()
    _given: list[Listening] = field(init=False)
    _taken: int = 0  # of `_given`, in this round
    _all: dict[_Key, Listening] = field(default_factory=dict)
    _claimed: set[_Key] = field(default_factory=set)
    _fresh: list[_Key] = field(default_factory=list)
    _added: list[tuple[Listening, socket.socket]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._given = [_activated(descriptor) for descriptor in self.activated]

    def open(self, service: Service, slots: int, say: Say = say_nothing) -> tuple[Listening, ...]:
        """Bind every address of a service; what is bound already is kept, its socket options set anew.

        slots: worker processes, at least 1.
        Says for each address what became of it (logs.md, section 1).
        Raises SystemRefusal when an address does not resolve, or when none of them can be bound.
        """
        say(DEBUG, f"Binding service [{service.name}]")
        if service.accept and self._taken < len(self._given):
            return (self._take_given(service, say),)
        tried = [self._open_one(service, key, slots, say) for key in _keys(service)]
        bound = tuple(each for each in tried if each is not None)
        if service.accept and not bound:
            raise SystemRefusal(f"Binding service [{service.name}] failed", "no address is left to listen on")
        return bound

    def check_activated(self) -> None:
        """Raises SystemRefusal when a service manager gave more sockets than there are services that
        listen."""
        if self._taken < len(self._given):
            raise SystemRefusal(
                "Too many listening file descriptors received from systemd",
                f"got {len(self._given)}, and {self._taken} service(s) listen",
            )

    def everything(self) -> tuple[Listening, ...]:
        """All that is open now."""
        return (*self._all.values(), *self._given)

    def settle(self, say: Say = say_nothing) -> None:
        """The new configuration is in force: close what no service claimed since the last settle or undo."""
        for key in [key for key in self._all if key not in self._claimed]:
            self._drop(key, say)
        self._forget_round()

    def undo(self) -> None:
        """The new configuration is not to be: close what was opened for it."""
        for listening, sock in self._added:
            listening.sockets.remove(sock)
            sock.close()
        for key in self._fresh:
            self._drop(key, say_nothing)
        self._forget_round()

    def close(self, say: Say = say_nothing) -> None:
        """Close everything and remove the paths of Unix sockets."""
        for key in list(self._all):
            self._drop(key, say)
        for listening in self._given:
            listening.close()

    def _take_given(self, service: Service, say: Say) -> Listening:
        listening = self._given[self._taken]
        self._taken += 1
        number = listening.sockets[0].fileno()
        say(DEBUG, f"Listening file descriptor received from systemd (FD={number})")
        sockets.apply(listening.sockets[0], sockets.compile(service.socket, "a"))
        _set_inherited(service, listening, say)
        say(INFO, f"Service [{service.name}] (FD={number}) bound to {listening.endpoint.text}")
        return listening

    def _open_one(self, service: Service, key: _Key, slots: int, say: Say) -> Listening | None:
        try:
            listening = self._bound(service, key, slots)
        except SystemRefusal as refusal:
            reason = f"{refusal.reason} ({refusal.number})" if refusal.number else refusal.reason
            say(NOTICE, f"Binding service [{service.name}] to {key.endpoint.text}: {reason}")
            return None
        _set_inherited(service, listening, say)
        for sock in listening.sockets:
            say(INFO, f"Service [{service.name}] (FD={sock.fileno()}) bound to {listening.endpoint.text}")
        return listening

    def _bound(self, service: Service, key: _Key, slots: int) -> Listening:
        if key in self._claimed:
            raise SystemRefusal("bind", os.strerror(errno.EADDRINUSE), errno.EADDRINUSE)
        options = sockets.compile(service.socket, "a")
        listening = self._all.get(key)
        if listening is None:
            listening = self._all[key] = _first(key.endpoint, options, unixaccess.wanted(service))
            self._fresh.append(key)
        elif listening.inode is not None:
            unixaccess.grant(str(listening.endpoint.sockaddr), unixaccess.wanted(service))
        self._claimed.add(key)
        while not listening.is_shared and len(listening.sockets) < slots:
            sock = _another(listening.endpoint, options)
            listening.sockets.append(sock)
            self._added.append((listening, sock))
        return listening

    def _drop(self, key: _Key, say: Say) -> None:
        listening = self._all.pop(key)
        for sock in listening.sockets:
            say(DEBUG, f"Listening descriptor closed (FD={sock.fileno()}, {listening.endpoint.text})")
        listening.close()
        if listening.remove_path():
            say(DEBUG, f"Socket removed: {listening.endpoint.sockaddr}")

    def _forget_round(self) -> None:
        self._taken = 0
        self._claimed.clear()
        self._fresh.clear()
        self._added.clear()


def _activated(descriptor: int) -> Listening:
    """A socket that somebody else has opened.  Raises SystemRefusal when it does not listen."""
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise SystemRefusal.of(f"Socket activation: descriptor {descriptor}", error) from error
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise SystemRefusal(f"Socket activation: descriptor {descriptor}", "it is no listening socket")
    return Listening(addresses.of_socket(sock), [sock], activated=True)


def _keys(service: Service) -> list[_Key]:
    wanted = [each for address in service.accept for each in addresses.resolve(address, passive=True)]
    return [_Key(each, f"{service.name}/{n}" if _port_zero(each) else "") for n, each in enumerate(wanted)]


def _port_zero(wanted: Endpoint) -> bool:
    return not isinstance(wanted.sockaddr, str) and wanted.sockaddr[1] == 0


def _reads_original(service: Service) -> bool:
    """Whether it matters where clients were bound for before the kernel led them here."""
    asks = service.client and service.protocol == "socks" and not service.protocol_host
    return asks or service.transparent in ("destination", "both")


def _set_inherited(service: Service, listening: Listening, say: Say) -> None:
    """The `l` options that accepted sockets will inherit; a failure costs a warning and not the service."""
    options = sockets.inherited(sockets.compile(service.socket, "l"))
    if _reads_original(service):
        for sock in listening.sockets:
            transparent.permit(sock)
    try:
        for sock in listening.sockets:
            sockets.apply(sock, options)
    except SystemRefusal as refusal:
        say(WARNING, f"Failed to set local socket options: {refusal}")


def _first(wanted: Endpoint, options: sockets.Compiled, access: Access) -> Listening:
    """Bind an address that nobody listens on yet."""
    if wanted.family == socket.AF_UNIX:
        return _first_unix(wanted, access)
    sock = _new_socket(wanted.family, options)
    with _closing_on_failure(sock):
        sock.bind(wanted.sockaddr)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.listen(socket.SOMAXCONN)
        return Listening(wanted.with_port(sock.getsockname()[1]), [sock])


def _another(bound: Endpoint, options: sockets.Compiled) -> socket.socket:
    """One more socket on an address that is ours already."""
    sock = _new_socket(bound.family, options)
    with _closing_on_failure(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(bound.sockaddr)
        sock.listen(socket.SOMAXCONN)
    return sock


def _first_unix(wanted: Endpoint, access: Access) -> Listening:
    path = str(wanted.sockaddr)
    named = not path.startswith("\0")
    if named:
        _remove_stale(path)
    sock = _new_socket(wanted.family, ())
    with _closing_on_failure(sock):
        sock.bind(path)
        inode = _inode(path) if named else None
        if named:
            unixaccess.grant(path, access)
        sock.listen(socket.SOMAXCONN)
        return Listening(wanted, [sock], inode)


def _remove_stale(path: str) -> None:
    """Unlink a socket that a dead process left behind.  What answers, or is no socket, makes bind() fail."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            return
    if _inode(path) is not None:
        os.unlink(path)


def _inode(path: str) -> tuple[int, int] | None:
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino) if stat.S_ISSOCK(facts.st_mode) else None


def _new_socket(family: int, options: sockets.Compiled) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise SystemRefusal.of("socket", error) from error
    with _closing_on_failure(sock):
        sockets.apply(sock, options)
    return sock


class _closing_on_failure:  # noqa: N801 (used like a function)
    """Close the socket when the block fails, and tell an OSError as SystemRefusal."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        self._sock.close()
        if isinstance(error, OSError):
            raise SystemRefusal.of("bind", error) from error
