"""One connection taken over from inetd: read from descriptor 0, written to descriptor 1, and then the end.

Mostly both are the same socket.  Where they are pipes, as under a shell or ssh, the engine gets one end of
a pair of sockets, and two threads carry the octets between the other end and the pipes; splice(2) moves
them inside the kernel.
"""

from __future__ import annotations

import os
import socket
import stat
import threading
from contextlib import suppress
from typing import Final

from culvert.daemon import channel
from culvert.daemon.channel import Order
from culvert.daemon.generation import Generation
from culvert.daemon.worker import Worker
from culvert.observe.ids import Ids
from culvert.observe.log import INFO
from culvert.observe.outlet import Outlet

_PORTION: Final = 64 * 1024


def serve(generation: Generation, outlet: Outlet, ids: Ids) -> int:
    """Carry the connection of descriptors 0 and 1 from its handshake to its end; returns 0 whatever became
    of it."""
    outlet.use(generation.configuration.options, generation.sinks)
    ours, theirs = channel.pair()
    with ours, theirs:
        worker = Worker(theirs, outlet)
        worker.start(generation.plans, [[] for _ in generation.plans], ids, first=True)
        near = _Near()
        worker.carry(near.descriptor, near.family)
        channel.send(ours, Order.RETIRE)
        worker.serve()
        near.wait()
    outlet.log.write(INFO, "Connection of inetd ended")
    return 0


class _Near:
    """Descriptors 0 and 1 as one connected, non-blocking socket, which belongs to whoever takes
    `descriptor`."""

    def __init__(self) -> None:
        self._carriers: list[threading.Thread] = []
        if _is_one_socket():
            sock = socket.socket(fileno=os.dup(0))
        else:
            sock, between = socket.socketpair()
            self._carry_between(between)
        self.family = int(sock.family)
        sock.setblocking(False)
        self.descriptor = sock.detach()

    def wait(self) -> None:
        """Wait until all that was written to the socket has left by descriptor 1."""
        for thread in self._carriers:
            thread.join()

    def _carry_between(self, between: socket.socket) -> None:
        reader = threading.Thread(target=_carry_in, args=(between,), daemon=True)
        writer = threading.Thread(target=_carry_out, args=(between,), daemon=True)
        reader.start()
        writer.start()
        self._carriers = [writer]  # nobody waits for more input


def _is_one_socket() -> bool:
    first, second = os.fstat(0), os.fstat(1)
    return stat.S_ISSOCK(first.st_mode) and os.path.samestat(first, second)


def _carry_in(between: socket.socket) -> None:
    with suppress(OSError):
        _carry(0, between.fileno())
    with suppress(OSError):
        between.shutdown(socket.SHUT_WR)


def _carry_out(between: socket.socket) -> None:
    with suppress(OSError):
        _carry(between.fileno(), 1)
    os.close(1)
    with suppress(OSError):
        between.shutdown(socket.SHUT_RD)


def _carry(source: int, sink: int) -> None:
    """Move octets until the end of the source; raises OSError when either side fails."""
    try:
        while os.splice(source, sink, _PORTION):
            pass
        return
    except OSError:  # neither is a pipe, or it failed, which the next call tells
        pass
    while data := os.read(source, _PORTION):
        view = memoryview(data)
        while view:
            view = view[os.write(sink, view) :]
