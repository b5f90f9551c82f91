"""How the end of a tunnel is told: in its log, and to both sides."""

from __future__ import annotations

from typing import Final

from culvert.engine import Carrier, Cause, Ending, HandshakeFailed, TalkFailed
from culvert.engine.endings import describe
from culvert.negotiate.failures import NegotiationFailed
from culvert.observe.log import DEBUG, ERR, INFO
from culvert.tls import failure_line, failure_lines
from culvert.tunnel.plan import Say

# Reasons of OpenSSL's SSL library (sslerr.h) for which it sends no alert: the peer does not speak TLS at all.
_NOT_TLS: Final = frozenset({155, 156})
_REASON_MASK: Final = 0x7FFFFF

_TIMEOUTS: Final = {
    Cause.IDLE: (INFO, "transfer_tcp: s_poll_wait: TIMEOUTidle exceeded: sending reset"),
    Cause.CLOSE_TIMEOUT: (ERR, "transfer_tcp: s_poll_wait: TIMEOUTclose exceeded: closing"),
    Cause.RENEGOTIATION: (ERR, "Aborting due to renegotiation request"),
    Cause.MEMORY: (ERR, "transfer_tcp: out of memory"),
}


def alert_was_sent(cause: Cause, tls_errors: tuple[int, ...]) -> bool:
    """Whether the TLS peer has an alert to read; a reset might take it away."""
    return cause is Cause.TLS and not any(code & _REASON_MASK in _NOT_TLS for code in tls_errors)


def say_relay_end(logged: int, say: Say, ending: Ending) -> None:
    """The lines for what ended a relay; ``logged`` is the level up to which there is a log."""
    if ending.cause in _TIMEOUTS:
        level, text = _TIMEOUTS[ending.cause]
        say(level, text)
    elif ending.cause is Cause.RESET:
        call = "SSL_read" if ending.secure_first else "readsocket"
        say(ERR, f"transfer_tcp: {call}: {describe(ending.cause, ending.errno)}")
    elif ending.cause is Cause.TLS:
        say(ERR, failure_line("SSL_read", ending.tls_errors))
    elif ending.cause is Cause.TRUNCATED:
        say(INFO, "TLS socket closed (SSL_read)")
    if logged >= INFO:
        _say_ends(say, ending)


def _say_ends(say: Say, ending: Ending) -> None:
    secure = ((INFO, "TLS closed (SSL_read)"), (DEBUG, "Sent socket write shutdown"))
    plain = (
        (INFO, "Read socket closed (readsocket)"),
        (DEBUG, "Sending close_notify alert"),
        (INFO, "SSL_shutdown successfully sent close_notify alert"),
    )
    sides = [(ending.secure_ended, secure), (ending.plain_ended, plain)]
    for ended, lines in sides if ending.secure_first else reversed(sides):
        for level, text in lines if ended else ():
            say(level, text)


def say_handshake_failure(say: Say, failure: HandshakeFailed, *, server: bool, peer: str | None) -> None:
    """The lines for a handshake that failed; ``peer``: the address of a client, to be named in the last of
    them.
    """
    if failure.cause is Cause.BUSY:
        say(INFO, "ssl_handshake_poll: s_poll_wait: TIMEOUTbusy exceeded: sending reset")
        return
    for level, text in failure_lines(server, failure.tls_errors, failure.errno, peer):
        say(level, text)


def say_negotiation_failure(say: Say, failure: NegotiationFailed | TalkFailed) -> None:
    """The line for a negotiation that came to nothing."""
    if isinstance(failure, NegotiationFailed):
        if text := str(failure):
            say(ERR, text)
    elif failure.cause is Cause.BUSY:
        say(INFO, "s_read_eof: s_poll_wait: TIMEOUTbusy exceeded: sending reset")
    else:
        say(ERR, f"s_read: {failure.reason}")


class Closing:
    """Which sides are reset at the end of a tunnel, and the word for it in the log."""

    __slots__ = ("plain", "secure")

    def __init__(self, *, plain: bool, secure: bool) -> None:
        self.plain = plain
        self.secure = secure

    def word(self, client: bool) -> str:
        """`reset` and `closed` for both sides, else that of the dialled side first."""
        words = ("reset" if self.plain else "closed", "reset" if self.secure else "closed")
        if words[0] == words[1]:
            return words[0]
        return "/".join(reversed(words) if client else words)

    def statistics(self, carrier: Carrier, *, client: bool) -> str:
        """The line that ends the log of every tunnel."""
        counts = f"{carrier.to_secure} byte(s) sent to TLS, {carrier.to_plain} byte(s) sent to socket"
        return f"Connection {self.word(client)}: {counts}"

    def close(self, carrier: Carrier, *, client: bool) -> None:
        """Close both connections."""
        if client:
            carrier.close(reset_accepted=self.plain, reset_dialled=self.secure)
        else:
            carrier.close(reset_accepted=self.secure, reset_dialled=self.plain)


CLEAN: Final = Closing(plain=False, secure=False)
BROKEN: Final = Closing(plain=True, secure=True)
ALERTED: Final = Closing(plain=True, secure=False)

TURNED_AWAY: Final = Closing(plain=True, secure=True)
"""As BROKEN, but nothing is said: the line that tells why it was turned away is the only one."""
