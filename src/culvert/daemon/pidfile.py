"""The `pid` file: this daemon's, locked as long as it runs, and nobody else's.

The lock (fcntl(2), F_SETLK) belongs to this process alone: a worker does not inherit it, and the kernel
lets go of it when the process ends, however it ends.  So a file without a lock is stale, whatever number
stands in it, and one with a lock is a running daemon's: it is left alone, and the start fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from culvert.errors import SystemRefusal


class PidFile:
    """A file with this process's number in it, as long as the daemon runs.

    Raises SystemRefusal when it cannot be created, or belongs to a daemon that runs.  A stale one is
    replaced.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            _remove_stale(path)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            raise SystemRefusal.of(f"Cannot create pid file {path}: create", error) from error

    def remove(self) -> bool:
        """Remove it unless it has become another process's; returns whether it was removed."""
        with contextlib.suppress(OSError):
            ours = os.path.samestat(os.fstat(self._descriptor), os.lstat(self.path))
            if ours and os.pread(self._descriptor, 32, 0) == f"{os.getpid()}\n".encode():
                os.unlink(self.path)
                return True
        return False

    def close(self) -> None:
        """Let go of the lock; also in a worker, which has none."""
        os.close(self._descriptor)


def _remove_stale(path: str) -> None:
    """Unlink what a daemon that is gone has left.  Raises SystemRefusal when one that runs holds the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError:  # a link, or nothing that a daemon of ours would have made
        os.unlink(path)
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.unlink(path)
    except BlockingIOError:
        number = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        raise SystemRefusal(
            f"Cannot create pid file {path}", f"the daemon with process number {number} runs"
        ) from None
    finally:
        os.close(descriptor)
