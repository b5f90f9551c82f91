"""Signals as a queue: a handler notes the number, the supervisor's loop takes it out and acts."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
HEARD: Final = (*ENDING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)

_PIPE_BYTES: Final = 4096


class SignalQueue:
    """Every signal of HEARD that arrives, in order.  Make it once in a process, in its main thread.

    An ending signal that was ignored when the program started stays ignored, as a shell does for its
    background jobs.  `fileno` is readable when `take` has something to give.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # The interpreter itself writes the number into the pipe, even before it gets to call the handler.
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in HEARD:
            if number not in ENDING or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _noted)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def fileno(self) -> int:
        return self._reader

    def take(self) -> list[signal.Signals]:
        """What has arrived; a request that came several times is there once, an ending signal each time."""
        try:
            numbers = os.read(self._reader, _PIPE_BYTES)
        except BlockingIOError:
            return []
        arrived = [signal.Signals(number) for number in numbers if number in HEARD]
        return [each for n, each in enumerate(arrived) if each in ENDING or each not in arrived[:n]]

    def leave_to_worker(self) -> None:
        """In a forked worker: hear nothing more.  What concerns the daemon reaches a worker by its channel.

        A terminal's Ctrl-C and `killall -HUP` reach workers too, and must not kill them.
        """
        signal.set_wakeup_fd(-1)
        for number in HEARD:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # SIG_IGN would take exit codes of children away
        self._close()

    def close(self) -> None:
        """Give the signals back to the system's defaults."""
        signal.set_wakeup_fd(-1)
        for number in HEARD:
            if signal.getsignal(number) is _noted:
                signal.signal(number, signal.SIG_DFL)
        self._close()

    def _close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


def _noted(_number: int, _frame: FrameType | None) -> None:
    """The number is in the pipe already."""


@contextmanager
def held_back() -> Iterator[None]:
    """No signal is delivered inside; a fork in it gives the child time to change its handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
