"""The `pid` file."""

from __future__ import annotations

import os

from culvert.errors import SystemRefusal


class PidFile:
    """A file with this process's number in it, as long as the daemon runs.

    Raises SystemRefusal when it cannot be created.  What was there before is replaced.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            if os.path.lexists(path):
                os.unlink(path)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SystemRefusal.of(f"Cannot create pid file {path}: create", error) from error
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{os.getpid()}\n")

    def remove(self) -> bool:
        """Remove it unless it has become another process's; returns whether it was removed."""
        try:
            with open(self.path) as file:
                ours = file.read() == f"{os.getpid()}\n"
            if ours:
                os.unlink(self.path)
        except OSError:
            return False
        return ours
