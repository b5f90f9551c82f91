"""Leaving the terminal: what was called waits, and its exit code says whether the daemon works.

stunnel's parent ends before its child has made the pid file; ours waits until workers accept connections, so
that `culvert FILE && use-it` needs no sleep.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from culvert.observe.sinks import say_on_stderr

_WORKS = b"\0"
_READ_BYTES = 65_536


class Caller:
    """The daemon's end of the pipe to the process that was called, or nobody in the foreground."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = descriptor

    def told(self, text: str | None) -> None:
        """End the caller: with 0 when `text` is None, else with 1 and the text on its standard error."""
        if self._descriptor is None:
            if text is not None:
                say_on_stderr(text)
            return
        try:
            os.write(self._descriptor, _WORKS if text is None else text.encode("utf-8", "surrogateescape"))
        except BrokenPipeError:  # the caller did not wait
            pass
        finally:
            self.close()

    def close(self) -> None:
        """In a worker: the caller is the supervisor's affair."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def detach(null: int) -> Caller:
    """Go on in the background, in a session of our own, at `/`, with /dev/null (`null`, open) for the
    terminal.

    Returns in the new process only; the one that was called ends inside when Caller.told or the daemon's end
    tells it.  Call it while no thread runs.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork():
        os.close(writer)
        _wait(reader)
    os.close(reader)
    os.setsid()
    os.chdir("/")
    for standard in range(3):
        os.dup2(null, standard)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return Caller(writer)


def _wait(reader: int) -> NoReturn:
    """Be the caller: wait for the daemon's word, and end without touching what belongs to the daemon."""
    word = b""
    while data := os.read(reader, _READ_BYTES):
        word += data
    if word == _WORKS:
        os._exit(0)
    say_on_stderr(word.decode("utf-8", "surrogateescape") or "[!] The daemon ended before it could work\n")
    os._exit(1)
