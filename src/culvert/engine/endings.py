"""How operations of a tunnel end: the words of ``native/engine.h``, and the exceptions made of them."""

from __future__ import annotations

import os
from enum import IntEnum
from typing import NamedTuple

from culvert.errors import TunnelError


class Side(IntEnum):
    """The two connections of a tunnel."""

    ACCEPTED = 0
    DIALLED = 1


class Operation(IntEnum):
    """What a decision is about; the last three of ``enum decision_kind`` that a tunnel has."""

    HANDSHAKE = 3
    DIAL = 4
    RELAY = 5


class Cause(IntEnum):
    """Why a handshake, a dial or a relay ended; ``enum cause`` of the engine."""

    CLEAN = 0
    RESET = 1
    TRUNCATED = 2
    TLS = 3
    IDLE = 4
    CLOSE_TIMEOUT = 5
    BUSY = 6
    CONNECT_TIMEOUT = 7
    RENEGOTIATION = 8
    MEMORY = 9
    EOF = 10
    ASKED = 11


# The word and the rest of a sentence about it, for people.
_SENTENCES = {
    Cause.CLEAN: "ended",
    Cause.TRUNCATED: "the TLS peer left without close_notify",
    Cause.TLS: "TLS failed",
    Cause.IDLE: "TIMEOUTidle exceeded",
    Cause.CLOSE_TIMEOUT: "TIMEOUTclose exceeded",
    Cause.BUSY: "TIMEOUTbusy exceeded",
    Cause.CONNECT_TIMEOUT: "TIMEOUTconnect exceeded",
    Cause.RENEGOTIATION: "the peer asked for a renegotiation",
    Cause.MEMORY: "out of memory",
    Cause.EOF: "the peer left",
    Cause.ASKED: "the handshake stands still",
}


def describe(cause: Cause, errno: int) -> str:
    """A cause in words: ``Connection reset by peer (104)``."""
    if errno:
        return f"{os.strerror(errno)} ({errno})"
    return _SENTENCES.get(cause, cause.name.lower())


class OperationFailed(TunnelError):
    """An operation of a tunnel failed; the tunnel can only be closed, or dial another address.

    cause: what happened; errno: of the descriptor, 0 when it is not to blame; tls_errors: OpenSSL's codes,
    the first and the last of its queue (ERR_get_error(3)), empty when it has none.
    """

    doing = "use a tunnel"

    def __init__(self, cause: Cause, errno: int = 0, tls_errors: tuple[int, ...] = ()) -> None:
        super().__init__(self.doing, describe(cause, errno))
        self.args = (cause, errno, tls_errors)  # what unpickling calls the constructor with
        self.cause, self.errno, self.tls_errors = cause, errno, tls_errors


class HandshakeFailed(OperationFailed):
    """TLS could not be established."""

    doing = "shake hands"


class DialFailed(OperationFailed):
    """One address of a far end could not be reached."""

    doing = "connect"


class TalkFailed(OperationFailed):
    """A side could not be read from or written to before the relay; BUSY when it took too long."""

    doing = "negotiate"


class TunnelStopped(TunnelError):
    """The tunnel was ended from outside: its service stops."""

    def __init__(self) -> None:
        super().__init__("the service stops", "")
        self.args = ()


class Ending(NamedTuple):
    """How a relay ended.

    cause: CLEAN, CLOSE_TIMEOUT (half closed for too long), or what broke it.
    errno: of the descriptor that failed, or 0.
    to_secure, to_plain: octets of plain text that TLS and the plain socket have taken.
    secure_ended, plain_ended: whether that side announced its end (close_notify, FIN).
    secure_first: whether the TLS side was the first to end or fail.
    tls_errors: OpenSSL's codes where the cause is TLS.
    """

    cause: Cause
    errno: int
    to_secure: int
    to_plain: int
    secure_ended: bool
    plain_ended: bool
    secure_first: bool
    tls_errors: tuple[int, ...] = ()

    @property
    def orderly(self) -> bool:
        """Whether the sockets are closed rather than reset (TIMEOUTclose is a normal end)."""
        return self.cause in (Cause.CLEAN, Cause.CLOSE_TIMEOUT)
