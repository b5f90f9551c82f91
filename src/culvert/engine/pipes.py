"""A connection that comes as two pipes, for an engine that wants one socket."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress

from culvert.openssl._lib import lib


class PairOfPipes:
    """Carries between two blocking descriptors and one end of a pair of sockets; `socket` is the other end.

    Each direction is a loop in C, in a thread of its own.  The end of the input is passed on as the end of
    what can be read from `socket`; when that is closed, `sink` is closed after the last octet.
    """

    def __init__(self, source: int, sink: int) -> None:
        self.socket, self._between = socket.socketpair()
        self._source, self._sink = source, sink
        self._writer = threading.Thread(target=self._carry_out, daemon=True)
        threading.Thread(target=self._carry_in, daemon=True).start()
        self._writer.start()

    def wait(self) -> None:
        """Wait until the last octet has left; more input is waited for by nobody."""
        self._writer.join()

    def _carry_in(self) -> None:
        lib.pipes_carry(self._source, self._between.fileno())
        with suppress(OSError):
            self._between.shutdown(socket.SHUT_WR)

    def _carry_out(self) -> None:
        lib.pipes_carry(self._between.fileno(), self._sink)
        os.close(self._sink)
        with suppress(OSError):
            self._between.shutdown(socket.SHUT_RD)
