"""The socket pair between the supervisor and one worker: orders of one byte there, words of one byte back.

It also tells each of the other's death: the end of file, which no process can forget to send.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from enum import Enum
from typing import Final

READY: Final = b"+"
"""What a worker says when it accepts connections."""

CLOSED: Final = b"-"
"""What a retired worker says when it accepts no more."""


BUSY: Final = b"!"
"""A worker's answer: it lives, and has had a tunnel since it was last asked."""

IDLE: Final = b"."
"""A worker's answer: it lives, and has had none."""


class Order(Enum):
    """What the supervisor asks of a worker."""

    RETIRE = b"r"  # accept nothing more, end with the last tunnel
    STOP = b"s"  # the same, but soon
    CUT = b"c"  # now
    REOPEN = b"o"  # the log file
    LIST = b"l"  # the connections, into the log
    ANSWER = b"a"  # with BUSY or IDLE


def pair() -> tuple[socket.socket, socket.socket]:
    """The supervisor's end and the worker's end, both non-blocking."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    return ours, theirs


def send(channel: socket.socket, order: Order) -> None:
    """Give an order.  A worker that is gone, or takes nothing any more, is noticed elsewhere."""
    say(channel, order.value)


def say(channel: socket.socket, word: bytes) -> None:
    """Say a worker's word; its supervisor's end is noticed elsewhere."""
    with suppress(OSError):
        channel.send(word)


def received(channel: socket.socket) -> bytes | None:
    """What the other has said since the last call, None when it is gone."""
    try:
        return channel.recv(4096) or None
    except BlockingIOError:
        return b""
    except ConnectionError:
        return None


def orders(data: bytes) -> list[Order]:
    """The orders in what a worker has received."""
    return [Order(data[n : n + 1]) for n in range(len(data))]
