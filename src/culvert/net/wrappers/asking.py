"""Asking hosts.allow and hosts.deny without holding up a worker's loop.

Theory of operation.  Judging reads files and may wait for name servers and for a client's host.  Threads
would do for our own reader, and are what a program that embeds Culvert gets; but libwrap keeps its state in
global variables, so with it a slow name server of one client would hold up all others.  A worker therefore
forks a few helpers when it starts, while it has no thread yet.  A helper takes one question after the
other from its socket, and ends with it: every other descriptor of the worker is closed in it.

A question that takes too long is given up by who asked; its answer, which comes later, has a number that
nobody waits for.  A helper that dies is not replaced, since a process with threads should not fork; when
none is left our own reader judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
from typing import Final, Protocol

from culvert.net.wrappers import Impossible
from culvert.net.wrappers.facts import Request
from culvert.net.wrappers.library import Library
from culvert.net.wrappers.reader import Reader
from culvert.net.wrappers.tables import Tables, Unsupported

HELPERS: Final = 5
"""Questions that are asked at the same time, as in stunnel."""

_QUESTION: Final = struct.Struct("=QHH")  # number, octets of the client's address, of the server's
_ANSWER: Final = struct.Struct("=QB")  # number, verdict; then the reason in UTF-8
_MESSAGE: Final = 8192
_REFUSED, _PERMITTED, _IMPOSSIBLE = range(3)


class Judge(Protocol):
    """Who answers a question; blocks."""

    def permits(self, request: Request) -> bool: ...


class Wrappers:
    """What a process asks."""

    def __init__(self, tables: Tables | None = None, helpers: int = 0) -> None:
        """helpers: how many processes to fork, where there is a libwrap; else threads judge."""
        self.tables = tables or Tables()
        self._own = Reader(self.tables)
        self._idle: asyncio.Queue[_Helper] = asyncio.Queue()
        self._alive = 0
        if helpers and _library_is_there():
            for _ in range(helpers):
                self._idle.put_nowait(_Helper(self.tables))
                self._alive += 1

    async def permits(self, request: Request) -> bool:
        """Whether the connection may be served.  Raises Impossible."""
        while self._alive:
            helper = await self._idle.get()
            try:
                answer = await helper.ask(request)
            except OSError:
                self._alive -= 1
                helper.close()
                continue
            except BaseException:
                self._idle.put_nowait(helper)
                raise
            self._idle.put_nowait(helper)
            return _read(answer)
        return _read(await asyncio.get_running_loop().run_in_executor(None, _judge, self._own, request))

    @property
    def helpers(self) -> int:
        """How many helper processes there are."""
        return self._alive

    def close(self) -> None:
        """End the helpers that nobody asks at this moment."""
        while not self._idle.empty():
            self._idle.get_nowait().close()


class _Helper:
    """One helper process, in the eyes of the process that asks."""

    def __init__(self, tables: Tables) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._number = 0
        self._pid = os.fork()
        if self._pid == 0:
            _be_helper(theirs, tables)
        theirs.close()

    async def ask(self, request: Request) -> tuple[int, str]:
        """Its verdict and the reason.  Raises OSError when it is dead."""
        loop = asyncio.get_running_loop()
        self._number += 1
        await loop.sock_sendall(self._socket, _packed(self._number, request))
        while True:
            data = await loop.sock_recv(self._socket, _MESSAGE)
            if not data:
                raise ConnectionResetError
            number, verdict = _ANSWER.unpack_from(data)
            if number == self._number:
                return verdict, data[_ANSWER.size :].decode(errors="replace")

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _library_is_there() -> bool:
    import ctypes

    from culvert.net.wrappers.library import NAME

    try:
        ctypes.CDLL(NAME)
    except OSError:
        return False
    return True


def _be_helper(own: socket.socket, tables: Tables) -> None:
    """Answer until the asking process closes its end or is dead; does not return."""
    try:
        number = own.fileno()
        os.closerange(3, number)
        os.closerange(number + 1, os.sysconf("SC_OPEN_MAX"))
        for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(each, signal.SIG_IGN)  # its end is the end of the socket
        judge = Library(tables)
        while data := own.recv(_MESSAGE):
            asked, request = _unpacked(data)
            verdict, reason = _judge(judge, request)
            own.send(_ANSWER.pack(asked, verdict) + reason.encode("utf-8", "replace"))
    finally:
        os._exit(0)


def _judge(judge: Judge, request: Request) -> tuple[int, str]:
    try:
        return (_PERMITTED if judge.permits(request) else _REFUSED), ""
    except Unsupported as error:
        return _IMPOSSIBLE, str(error)
    except OSError as error:
        return _IMPOSSIBLE, f"{error.filename}: {error.strerror}"


def _read(answer: tuple[int, str]) -> bool:
    verdict, reason = answer
    if verdict == _IMPOSSIBLE:
        raise Impossible(reason)
    return verdict == _PERMITTED


def _packed(number: int, request: Request) -> bytes:
    head = _QUESTION.pack(number, len(request.client), len(request.server))
    return head + request.client + request.server + request.daemon.encode("utf-8", "surrogateescape")


def _unpacked(data: bytes) -> tuple[int, Request]:
    number, client, server = _QUESTION.unpack_from(data)
    addresses = data[_QUESTION.size :]
    daemon = addresses[client + server :].decode("utf-8", "surrogateescape")
    return number, Request(daemon, addresses[:client], addresses[client : client + server])
