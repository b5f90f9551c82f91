"""How a negotiation fails.

PeerError
    NegotiationFailed           the tunnel is reset
        UnexpectedReply         the peer said something else; carries what
        LineTooLong             no end within the bound of one step
        TalkedTooMuch           the bound of all steps together
        PlaintextAfterUpgrade   octets behind the go-ahead of TLS: somebody tries to smuggle them into it
        PeerLeft                the end of the stream in the middle of a step
        OrderlyEnd              the tunnel is over by the rules of the protocol: closed, not reset

``str()`` is the whole text of the log line.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from culvert.errors import PeerError, printable

# What stands behind these words may be a password: IMAP, ManageSieve, POP3, FTP, IRC, NNTP, SMTP, HTTP.
_SECRET: Final = re.compile(
    r"((?:\S{1,64} )?(?:LOGIN|AUTHENTICATE|PASS|OPER|AUTHINFO \S+|AUTH \S+"
    r"|(?:Proxy-)?Authorization: *\S+)) +\S.*",
    re.IGNORECASE | re.DOTALL,
)
_SHOWN: Final = 200  # characters of a peer's words in an error's text


def shown(octets: bytes, most: int = _SHOWN) -> str:
    """A peer's words for a log line: one line, control characters escaped, not too long, no password."""
    text = _SECRET.sub(r"\1 *****", octets[: most + 1].decode("utf-8", "surrogateescape"))
    text = printable(text)
    return text if len(octets) <= most and len(text) <= most else f"{text[:most]}..."


class NegotiationFailed(PeerError):
    """The peer does not do what the protocol asks of it."""

    orderly: ClassVar[bool] = False

    def __init__(self, reason: str) -> None:
        super().__init__(reason, "")
        self.args = (reason,)  # what unpickling calls the constructor with


class UnexpectedReply(NegotiationFailed):
    """Something else was expected than ``got``; ``why`` is the protocol's word for that."""

    def __init__(self, why: str, got: bytes = b"") -> None:
        super().__init__(f"{why}: {shown(got)}" if got else why)
        self.args = (why, got)
        self.why, self.got = why, got


class LineTooLong(NegotiationFailed):
    """A line, or another unit, had not ended after ``most`` octets."""

    def __init__(self, most: int) -> None:
        super().__init__(f"fd_getline: Line too long: more than {most} octets")
        self.args = (most,)


class TalkedTooMuch(NegotiationFailed):
    """All lines together had more than ``most`` octets."""

    def __init__(self, most: int) -> None:
        super().__init__(f"Negotiation too long: more than {most} octets")
        self.args = (most,)


class PlaintextAfterUpgrade(NegotiationFailed):
    """Octets in clear came together with the go-ahead of TLS."""

    def __init__(self, octets: bytes) -> None:
        super().__init__(f"Plaintext behind the go-ahead of TLS: {shown(octets, 60)}")
        self.args = (octets,)


class PeerLeft(NegotiationFailed):
    """The stream ended where something had to come."""

    def __init__(self, received: int) -> None:
        super().__init__(f"s_read: Unexpected socket close after {received} byte(s)")
        self.args = (received,)


class OrderlyEnd(NegotiationFailed):
    """The tunnel is over, and nobody is to be reset; an empty reason is not logged."""

    orderly: ClassVar[bool] = True
