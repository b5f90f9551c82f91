"""Asks an entropy gathering daemon (EGD, prngd) for random octets, over its Unix socket.

The protocol is the one of EGD 0.9, as RAND_egd(3) of OpenSSL 1.0 spoke it: command 1 and a number N ask for
at most N octets of what is there, and the answer is their number and they themselves; command 2 and N ask
for exactly N, without a number before them, and may take the daemon a while.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Generator

from culvert.errors import SystemRefusal

MOST = 255
"""Octets that one question can be about."""

PATIENCE = 5.0
"""Seconds, for the whole conversation."""

_WHAT_THERE_IS, _EXACTLY = 1, 2

Talk = Generator[tuple[bytes, int], bytes, bytes]
"""Yields (octets to send, how many to read then), is given what was read, returns the random octets."""


def conversation(wanted: int) -> Talk:
    """Ask for ``wanted`` octets: what is there at once, and where nothing is, one question that may wait."""
    got = b""
    while len(got) < wanted:
        size = min(MOST, wanted - len(got))
        count = (yield bytes((_WHAT_THERE_IS, size)), 1)[0]
        if count > size:
            raise ValueError(f"it gave {count} octets where {size} were asked for")
        if count == 0:
            return got or (yield bytes((_EXACTLY, size)), size)
        got += yield b"", count
    return got


def ask(path: str, wanted: int, patience: float = PATIENCE) -> bytes:
    """Get up to ``wanted`` octets from the daemon at ``path``.

    patience: seconds for all of it.  Raises SystemRefusal: nobody there, too slow, not the protocol.
    """
    end = time.monotonic() + patience
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(patience)
            sock.connect(path)
            return _converse(sock, conversation(wanted), end)
    except OSError as error:
        raise SystemRefusal.of(f"EGD socket {path}", error) from error
    except ValueError as error:
        raise SystemRefusal(f"EGD socket {path}", str(error)) from error


def _converse(sock: socket.socket, talk: Talk, end: float) -> bytes:
    try:
        question, size = next(talk)
        while True:
            if question:
                sock.sendall(question)
            question, size = talk.send(_read(sock, size, end))
    except StopIteration as finished:
        return bytes(finished.value)


def _read(sock: socket.socket, size: int, end: float) -> bytes:
    got = b""
    while len(got) < size:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left)
        data = sock.recv(size - len(got))
        if not data:
            raise ValueError("it closed the connection")
        got += data
    return got
