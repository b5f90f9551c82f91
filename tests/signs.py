"""Services that say their names to everybody: who reads one has reached it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 15.0


class Sign:
    """A service that says its name to everybody."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self.heard: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):  # who left before is not our concern
                sock.settimeout(PATIENCE)
                sock.sendall(self._name)
                sock.shutdown(socket.SHUT_WR)
                heard = b""
                while data := sock.recv(1000):
                    heard += data
                self.heard.append(heard)


@contextmanager
def signs() -> Iterator[tuple[Sign, Sign]]:
    inside, outside = Sign(b"inside"), Sign(b"outside")
    try:
        yield inside, outside
    finally:
        inside.close()
        outside.close()


def dead_port() -> int:
    """One on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port
