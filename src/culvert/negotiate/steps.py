"""What a script of a negotiation may ask for, one step at a time.

A script is a generator of steps; what it is sent is the answer to the step.  The functions below are such
generators with a type, for ``yield from``:

    greeting = yield from line(Peer.FAR)
    yield from say(Peer.NEAR, greeting)

Which octets came, and that the step is over, is known from the step alone; so octets can be looked at where
they lie and exactly those that a script used are taken.  What follows them belongs to whoever comes next.
"""

from __future__ import annotations

import enum
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from culvert.negotiate.failures import UnexpectedReply

T = TypeVar("T")

LINE_MOST: Final = 8192
"""Octets of a line, its end included: twice what RFC 5321 lets an SMTP command line with extensions have,
and as much as IMAP servers take (RFC 7162, 4)."""

DETECTION_SECONDS: Final = 0.2
"""How long a client that may speak TLS at once is waited for before the server's greeting goes out."""

Host = tuple[str, int]
"""A host, by name or number, and a port."""


class Peer(enum.Enum):
    """Who is spoken to."""

    NEAR = "near"  # the accepted side
    FAR = "far"  # the dialled side


class Outcome(NamedTuple):
    """What a script came to.

    target: numeric hosts to dial, in this order, instead of `connect`; None: those of `connect`.
    memory: what the next script of this tunnel may learn (Fact.MEMORY).
    """

    target: tuple[Host, ...] | None = None
    memory: object = None


NOTHING: Final = Outcome()


@dataclass(frozen=True, slots=True)
class Send:
    """Send octets.  shown: what the log says instead of them; empty for nothing, None for the lines."""

    peer: Peer
    octets: bytes
    shown: str | None = None


@dataclass(frozen=True, slots=True)
class Receive:
    """Be given the octets up to and with ``end`` (one octet), of at most ``most``; without ``end`` exactly
    ``most``.  Only units with an end are logged.
    """

    peer: Peer
    most: int
    end: bytes = b""


@dataclass(frozen=True, slots=True)
class Speaks:
    """Be told (bool) whether a peer has octets for us, or has left, within some seconds."""

    peer: Peer
    seconds: float = DETECTION_SECONDS


@dataclass(frozen=True, slots=True)
class Silent:
    """Go on only if a peer has sent nothing more; PlaintextAfterUpgrade if it has.

    Stands before the go-ahead of TLS where the peer waits for it, and behind it where the peer sent it.
    """

    peer: Peer


@dataclass(frozen=True, slots=True)
class Resolve:
    """Be given the addresses of a host as a tuple of numeric Hosts; empty when there are none."""

    host: str
    port: str  # a number or the name of a service


@dataclass(frozen=True, slots=True)
class Look:
    """Be given the next octet of a peer, which stays where it is; the peer must not have left."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Judge:
    """Be told why nobody may be led to a numeric host, or None when that is fine."""

    host: Host


@dataclass(frozen=True, slots=True)
class Ask:
    """Be given the answer of a directory to one LDAP message; the connection is made for it alone.

    address: `HOST:PORT`.
    """

    address: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Store:
    """Keep credentials for all tunnels of this daemon (Fact.CREDENTIALS)."""

    octets: bytes


class Fact(enum.Enum):
    """What a script may ask about its tunnel.  Addresses are numeric Hosts, None of a Unix socket."""

    PEER_ADDRESS = "the address of the accepted connection's peer"
    ORIGINAL = "the address that the accepted connection was meant for"
    SECURED = "what a PROXY header tells of TLS on the accepted side, None when that is in clear"
    CREDENTIALS = "the credentials that were stored last, empty when there are none"
    MEMORY = "the memory that the script before left in its outcome"
    OWN_ADDRESS = "the own address of the accepted connection"


@dataclass(frozen=True, slots=True)
class Learn:
    """Be told a fact."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class Note:
    """Write a line of the tunnel's log; level: of syslog (RFC 5424, 6.2.1), 3 error to 7 debug."""

    level: int
    text: str


Step = Send | Receive | Look | Judge | Ask | Store | Speaks | Silent | Resolve | Learn | Note
Talk = Generator[Step, Any, T]
Script = Talk[Outcome]


def say(peer: Peer, *lines: bytes, shown: str | None = None) -> Talk[None]:
    """Send lines, each of which gets its CRLF."""
    yield Send(peer, b"".join(each + b"\r\n" for each in lines), shown)


def send(peer: Peer, octets: bytes) -> Talk[None]:
    """Send octets that are no lines and are not logged."""
    yield Send(peer, octets, "")


def line(peer: Peer, most: int = LINE_MOST) -> Talk[bytes]:
    """The next line, without its end.

    A NUL or a CR in the middle is refused: two programs would not agree on where such a line ends.
    """
    found: bytes = (yield Receive(peer, most, b"\n")).rstrip(b"\r\n")
    if b"\0" in found or b"\r" in found:
        raise UnexpectedReply("A line with a NUL or a bare CR", found)
    return found


def exactly(peer: Peer, count: int) -> Talk[bytes]:
    """The next ``count`` octets."""
    return (yield Receive(peer, count)) if count else b""


def look(peer: Peer) -> Talk[bytes]:
    """The next octet, which is not taken."""
    octet: bytes = yield Look(peer)
    return octet


def until(peer: Peer, end: bytes, most: int) -> Talk[bytes]:
    """Octets up to and with one that is ``end``."""
    found: bytes = yield Receive(peer, most, end)
    return found


def speaks(peer: Peer, seconds: float = DETECTION_SECONDS) -> Talk[bool]:
    """Whether the peer says something of itself within some seconds."""
    return bool((yield Speaks(peer, seconds)))


def silent(peer: Peer) -> Talk[None]:
    """Refuse octets that came before their time."""
    yield Silent(peer)


def go_ahead(peer: Peer, *lines: bytes) -> Talk[None]:
    """Tell a client to start TLS, unless it has sent more in clear than it was asked for."""
    yield Silent(peer)
    yield from say(peer, *lines)


def go_ahead_octets(peer: Peer, octets: bytes) -> Talk[None]:
    """The same where the go-ahead is no line; it is not logged."""
    yield Silent(peer)
    yield from send(peer, octets)


def resolve(host: str, port: str) -> Talk[tuple[Host, ...]]:
    """The numeric addresses of a host; empty when there are none."""
    found: tuple[Host, ...] = yield Resolve(host, port)
    return found


def judge(host: Host) -> Talk[str | None]:
    """Why a client may not choose this destination, or None."""
    reason: str | None = yield Judge(host)
    return reason


def ask(address: str, octets: bytes) -> Talk[bytes]:
    """The LDAP message that a directory answers with."""
    found: bytes = yield Ask(address, octets)
    return found


def store(octets: bytes) -> Talk[None]:
    """Keep credentials."""
    yield Store(octets)


def learn(fact: Fact) -> Talk[Any]:
    """What is asked, see Fact."""
    return (yield Learn(fact))


def note(level: int, text: str) -> Talk[None]:
    """Write a line of the log."""
    yield Note(level, text)


def starts(octets: bytes, *beginnings: bytes) -> bool:
    """Whether a line begins so, in any case."""
    return octets.upper().startswith(tuple(each.upper() for each in beginnings))


def expect(found: bytes, why: str, *beginnings: bytes) -> bytes:
    """The line, which has to begin so, in any case.  Raises UnexpectedReply."""
    if not starts(found, *beginnings):
        raise UnexpectedReply(why, found)
    return found
