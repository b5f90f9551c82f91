"""Programs as an end of a tunnel: `exec`, with a pair of sockets or with a terminal.

A program gets one end of a connected pair of TCP sockets of 127.0.0.1, since programs made for inetd ask
for the address of their peer, or the slave of a pseudo terminal, which is its controlling terminal.  The
engine has the other end, and for it a program is a connection like any other: what it wrote before it ended
is carried before the end is told.

posix_spawn(3) starts it, which needs no copy of the worker and no code of ours between fork and exec.  All
signals are as in a new session's first process, and no descriptor of ours is passed on, for all are
close-on-exec.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from culvert.config.model import Service
from culvert.errors import SystemRefusal
from culvert.net import sockets
from culvert.observe.fate import fate
from culvert.observe.log import DEBUG, INFO

Say = Callable[[int, str], None]

_SIGNALS: Final = tuple(number for number in range(1, 65) if number not in (9, 19, 32, 33))
"""All whose action can be set: not KILL and STOP, nor those that the C library keeps for itself."""

_PAIR_SECONDS: Final = 1.0
_STRANGERS: Final = 16
"""How many others may knock at the port of a pair before it is given up."""


class Started(NamedTuple):
    """A program that runs: its process number, and our end of what connects us with it."""

    pid: int
    descriptor: int
    family: int
    terminal: bool


@dataclass(frozen=True, slots=True)
class Program:
    """What `exec` names.

    path: as execve(2) takes it.  arguments: from argv[0] on.  terminal: it gets one.
    keeps_stderr: its standard error is the daemon's, where the log goes; else the tunnel's.
    options: set on both sockets of the pair (`socket = r:...`).
    """

    path: str
    arguments: tuple[str, ...]
    terminal: bool
    keeps_stderr: bool
    options: sockets.Compiled

    @classmethod
    def of(cls, service: Service, *, log_on_stderr: bool) -> Program | None:
        """The program of a service, None when it has none.  Raises SystemRefusal for an unknown socket
        option."""
        if service.exec is None:
            return None
        options = sockets.compile(service.socket, "r")
        arguments = service.exec_args or (service.exec,)
        return cls(service.exec, arguments, service.pty, log_on_stderr, options)

    def start(self, environment: Mapping[str, str], say: Say) -> Started:
        """Run it.  Raises SystemRefusal when it cannot be started."""
        _bury_orphans()
        try:
            started = self._on_terminal(environment, say) if self.terminal else self._on_sockets(environment)
        except OSError as error:
            raise SystemRefusal.of(f"Cannot start {self.path}", error) from error
        say(INFO, f"Local mode child started (PID={started.pid})")
        return started

    def _on_sockets(self, environment: Mapping[str, str]) -> Started:
        ours, theirs = _pair()
        with theirs:
            try:
                for sock in (ours, theirs):
                    sockets.apply(sock, self.options)
                pid = self._spawn(environment, [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)], leads=False)
            except BaseException:
                ours.close()
                raise
        return Started(pid, ours.detach(), socket.AF_INET, False)

    def _on_terminal(self, environment: Mapping[str, str], say: Say) -> Started:
        ours, theirs = os.openpty()
        try:
            name = os.ttyname(theirs)
            say(DEBUG, f"TTY={name} allocated")
            os.set_blocking(ours, False)
            # A session's leader that opens a terminal has it for its controlling terminal (setsid(2)).
            pid = self._spawn(environment, [(os.POSIX_SPAWN_OPEN, 0, name, os.O_RDWR, 0)], leads=True)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return Started(pid, ours, socket.AF_UNSPEC, True)

    def _spawn(self, environment: Mapping[str, str], first: list[tuple[object, ...]], *, leads: bool) -> int:
        """Start it with descriptor 0 as `first` says, 1 and mostly 2 the same; leads: in a session of its
        own."""
        actions = [*first, (os.POSIX_SPAWN_DUP2, 0, 1)]
        if not self.keeps_stderr:
            actions.append((os.POSIX_SPAWN_DUP2, 0, 2))
        return os.posix_spawn(
            self.path,
            self.arguments,
            environment,
            file_actions=actions,
            setsid=leads,
            setsigmask=(),
            setsigdef=_SIGNALS,
        )


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets: ours, which does not block, and a program's, which does.

    Anybody on this machine may knock meanwhile; only who has our own address is taken.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.settimeout(_PAIR_SECONDS)
        listener.bind(("127.0.0.1", 0))
        listener.listen(_STRANGERS)
        ours = socket.create_connection(listener.getsockname(), _PAIR_SECONDS)
        try:
            theirs = _accepted_from(listener, ours.getsockname())
        except BaseException:
            ours.close()
            raise
    ours.setblocking(False)
    theirs.setblocking(True)
    return ours, theirs


def _accepted_from(listener: socket.socket, wanted: object) -> socket.socket:
    for _ in range(_STRANGERS):
        sock, peer = listener.accept()
        if peer == wanted:
            return sock
        sock.close()
    raise ConnectionRefusedError("strangers knock at the port of the pair")


class Children:
    """The programs of one service that run, waited for without blocking."""

    def __init__(self) -> None:
        self._waiting: dict[int, int] = {}

    def add(self, started: Started, say: Say, ended: Callable[[], None]) -> None:
        """Take away this child when it ends, log what became of it, and call `ended` if it had a terminal.

        Its children may keep the terminal open, though they have lost it.  Raises SystemRefusal where no
        descriptor is left to wait with.
        """
        told = ended if started.terminal else None
        try:
            handle = os.pidfd_open(started.pid)
        except ProcessLookupError:  # it has ended, and SIGCHLD is ignored
            self._tell(started.pid, say, told)
            return
        except OSError as error:
            _orphans.add(started.pid)
            raise SystemRefusal.of(f"Cannot wait for child process {started.pid}", error) from error
        self._waiting[started.pid] = handle
        asyncio.get_running_loop().add_reader(handle, self._ended, started.pid, say, told)

    def close(self) -> None:
        """Wait no more; they go on."""
        for handle in self._waiting.values():
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)
        _orphans.update(self._waiting)
        self._waiting.clear()
        _bury_orphans()

    def _ended(self, pid: int, say: Say, told: Callable[[], None] | None) -> None:
        handle = self._waiting.pop(pid)
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
        self._tell(pid, say, told)

    @staticmethod
    def _tell(pid: int, say: Say, told: Callable[[], None] | None) -> None:
        try:
            _, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # whoever embeds the tunnel waits for all children, or ignores them
            say(INFO, f"Child process {pid} finished")
        else:
            say(INFO, f"Child process {pid} {fate(status)}")
        if told is not None:
            told()


_orphans: Final[set[int]] = set()
"""Children that nobody waits for any more.  A worker ends soon and leaves them to init; a program that
embeds tunnels goes on, and takes away those that have ended when it starts or leaves another.
"""


def _bury_orphans() -> None:
    for pid in tuple(_orphans):
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            ended = pid
        if ended:
            _orphans.discard(pid)
