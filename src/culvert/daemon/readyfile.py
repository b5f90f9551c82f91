"""The `readyFile`: it is there for as long as connections are accepted, for those who cannot be notified."""

from __future__ import annotations

import os
from contextlib import suppress

from culvert.observe.log import WARNING, Log


class ReadyFile:
    """A file that others look for, with the process number in it; a reload may move it."""

    def __init__(self) -> None:
        self._path: str | None = None

    def show(self, path: str | None, log: Log) -> None:
        """Make it, under this name.  That it cannot be made is logged, and stops nothing."""
        if self._path != path:
            self.hide()
        if path is None:
            return
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(path, flags, 0o644), "w") as file:
                file.write(f"{os.getpid()}\n")
            self._path = path
        except OSError as error:
            log.write(WARNING, f"Cannot create the ready file {path}: {error.strerror} ({error.errno})")

    def hide(self) -> None:
        """Remove it, if it is there."""
        if self._path is not None:
            with suppress(OSError):
                os.unlink(self._path)
            self._path = None
