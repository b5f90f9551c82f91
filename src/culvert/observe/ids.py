"""The identifiers that mark a connection's log lines (`logId`).

The sequential ones are counted over all workers and all reloads of a daemon.  The counter is the position of
a file that every process shares: lseek(2) on a regular file moves it as one step (POSIX, 2.9.7), which makes
it a counter that processes without common memory or locks may use.  Position n + 1 means that n is taken.
"""

from __future__ import annotations

import itertools
import os
import secrets
import string
import threading
from collections.abc import Callable
from typing import Final

UNIQUE_CHARACTERS: Final = 22
"""Length of a unique identifier: 22 of 62 characters are 131 bits."""

_ALPHABET: Final = string.digits + string.ascii_letters

Count = Callable[[], int]
"""Gives 0, 1, 2 ..., each number once."""


class SharedCounter:
    """Counts 0, 1, 2 ... over all processes that were forked since it was made.

    Raises OSError when the kernel gives no memory file.
    """

    def __init__(self) -> None:
        memory = os.memfd_create("culvert-ids", os.MFD_CLOEXEC)
        try:
            # A memory file as it is made does not lock its position; one opened by its name does.
            self._descriptor = os.open(f"/proc/self/fd/{memory}", os.O_RDWR | os.O_CLOEXEC)
        finally:
            os.close(memory)

    def __call__(self) -> int:
        return os.lseek(self._descriptor, 1, os.SEEK_CUR) - 1

    def close(self) -> None:
        os.close(self._descriptor)


class Ids:
    """Makes identifiers of each kind of `logId`."""

    def __init__(self, count: Count | None = None) -> None:
        self._count: Count = count or itertools.count().__next__

    def next(self, kind: str) -> str:
        """The identifier of a new connection.

        kind: `sequential`, `unique`, `thread` (of the operating system) or `process`.
        """
        if kind == "sequential":
            return str(self._count())
        if kind == "unique":
            return "".join(secrets.choice(_ALPHABET) for _ in range(UNIQUE_CHARACTERS))
        return str(os.getpid() if kind == "process" else threading.get_native_id())
