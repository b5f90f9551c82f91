"""What a service manager and its daemon tell each other: sockets that are open already, readiness, life
signs.

Both are plain protocols of environment variables, descriptors and one datagram socket (sd_listen_fds(3),
sd_notify(3)); without a manager nothing happens.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Final

FIRST_DESCRIPTOR: Final = 3


def take_listening() -> tuple[int, ...]:
    """The descriptors of listening sockets that were handed over, in their order; only the first call counts.

    They are meant for this process alone, so the variables go, and programs that it starts do not inherit
    them.
    """
    meant_for = os.environ.pop("LISTEN_PID", "")
    count = os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if meant_for != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return ()
    descriptors = tuple(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)))
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, False)
    return descriptors


class Notifier:
    """Tells the manager what the daemon is doing; silent when nobody asked.

    The socket is opened at once: `chroot` may take its path away.  The variables go, so that no program
    that a tunnel starts speaks in the daemon's name.
    """

    def __init__(self) -> None:
        self._socket = _reached(os.environ.pop("NOTIFY_SOCKET", ""))
        self.watchdog_seconds = _watchdog()
        self._next_sign = time.monotonic()

    def ready(self) -> None:
        """Connections are accepted, at the start and after a reload; also names the process to watch."""
        self._tell(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=Accepting new connections")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it, whether it succeeded or not."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={text}")

    def stopping(self) -> None:
        """The end has begun."""
        self._tell("STOPPING=1")

    def sign_of_life(self) -> None:
        """The daemon and its workers are well; to be called twice in `watchdog_seconds`."""
        self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Say no more; in a worker, too."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, text: str) -> None:
        if self._socket is not None:
            with suppress(OSError):  # a manager that is gone or full must not hold the daemon up
                self._socket.send(text.encode())


def _reached(address: str) -> socket.socket | None:
    if not address.startswith(("/", "@")):
        return None
    found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        found.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
    except OSError:
        found.close()
        return None
    return found


def _watchdog() -> float | None:
    """Seconds within which the manager wants to hear of us, None when it does not
    (sd_watchdog_enabled(3))."""
    micros, meant_for = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
    if not (micros.isascii() and micros.isdigit()) or int(micros) == 0:
        return None
    return int(micros) / 1e6 if meant_for in ("", str(os.getpid())) else None
