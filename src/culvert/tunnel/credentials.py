"""Credentials that one tunnel stores for all the others of this daemon, in whatever worker (CapWIN).

The memory is anonymous and mapped before the first fork, so it outlives reloads and ends with the daemon.
Two workers may write at once and a third may read meanwhile: what is read is believed only if its digest is
right, and there is always one that was written last.
"""

from __future__ import annotations

import hashlib
import mmap
from typing import Final

_MAX: Final = 255
_DIGEST: Final = 32
_SIZE: Final = 1 + _MAX + _DIGEST
_TRIES: Final = 100

_memory: mmap.mmap | None = None


def prepare() -> None:
    """Map the memory; to be called before the workers are forked.  Raises OSError."""
    global _memory  # noqa: PLW0603 - one place for the whole daemon is what this module is
    if _memory is None:
        _memory = mmap.mmap(-1, _SIZE)


def keep(octets: bytes) -> None:
    """Replace what is stored; at most 255 octets."""
    if _memory is None:
        raise RuntimeError("no memory was prepared")
    body = bytes((len(octets),)) + octets.ljust(_MAX, b"\0")
    _memory[:] = body + hashlib.sha256(body).digest()


def stored() -> bytes:
    """What was stored last, empty when nothing was."""
    for _ in range(_TRIES):
        found = b"" if _memory is None else bytes(_memory[:])
        body = found[: 1 + _MAX]
        if not any(found):
            return b""
        if hashlib.sha256(body).digest() == found[1 + _MAX :]:
            return body[1 : 1 + body[0]]
    return b""
