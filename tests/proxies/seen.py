"""What a scripted peer saw, and how a connection can end."""

from __future__ import annotations

import enum
import hashlib
import ssl
import time
from dataclasses import dataclass, field
from functools import cache


class Wire(enum.Enum):
    """How the socket itself ended, as its reader learnt it."""

    FIN = "FIN"
    RESET = "RST"
    HANGUP = "hang-up"  # Unix sockets: both directions closed at once, before we closed ours
    NOTHING = "nothing until the deadline"


class PeerTrouble(AssertionError):
    """A peer could not do what its script says; the text tells what happened instead."""


class Deadline:
    """A point of time that nothing may pass."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds from now, at least one millisecond: a timeout of zero would mean something else."""
        return max(self.at - time.monotonic(), 0.001)


@dataclass(frozen=True)
class Seen:
    """All that arrived at a peer, and how it ended."""

    octets: int
    digest: str
    wire: Wire
    close_notify: bool = False
    trouble: str = ""
    """The TLS error that the peer met while reading, such as a fatal alert."""

    @property
    def ending(self) -> str:
        """The ending in words: ``close_notify + FIN``, ``FIN``, ``RST`` ..."""
        return f"close_notify + {self.wire.value}" if self.close_notify else self.wire.value

    def __str__(self) -> str:
        return f"{self.octets:,} B, {self.ending}" + (f" ({self.trouble})" if self.trouble else "")


@dataclass
class Tally:
    """Counts what arrives."""

    octets: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, data: bytes) -> None:
        self.octets += len(data)
        self._digest.update(data)

    def seen(self, wire: Wire, *, close_notify: bool = False, trouble: str = "") -> Seen:
        return Seen(self.octets, self._digest.hexdigest(), wire, close_notify, trouble)


@cache
def payload(octets: int, seed: str = "culvert") -> bytes:
    """The same octets for the same size and seed in every run, without any period that could hide a loss."""
    return hashlib.shake_128(f"{seed} {octets}".encode()).digest(octets)


@cache
def digest_of(octets: int, seed: str = "culvert") -> str:
    """SHA-256 of ``payload(octets, seed)``."""
    return hashlib.sha256(payload(octets, seed)).hexdigest()


def tls_error(error: ssl.SSLError) -> str:
    """A short name for what OpenSSL reports."""
    return error.reason or str(error)
