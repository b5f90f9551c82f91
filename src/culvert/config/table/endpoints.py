"""Where a tunnel begins and where it leads."""

from __future__ import annotations

from dataclasses import dataclass

from culvert.config.options import Merge, not_yet, option
from culvert.config.sockets import DEFAULTS, SOCKET, SocketOption, merge
from culvert.config.table.protocols import PROTOCOLS
from culvert.config.values import (
    ADDRESS,
    FILE,
    SOME_TEXT,
    TEXT,
    WORDS,
    YES_NO,
    Address,
    BadValue,
    Kind,
    choice,
    number,
    whole,
)


def _retry(text: str) -> float | None:
    if text.lower() in ("yes", "no"):
        return 1.0 if text.lower() == "yes" else None
    try:
        return whole(text, "", 0, 10**9) / 1000
    except BadValue:
        raise BadValue("Illegal retry delay: yes, no or milliseconds are needed") from None


TRANSPARENT = choice("none", "source", "destination", "both", no="none", yes="source")
RETRY = Kind("yes | no | milliseconds", _retry)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Endpoints:
    """Both ends of a tunnel and the sockets between them."""

    accept: tuple[Address, ...] = option(
        "accept", ADDRESS, (), "Listen here for the connections of this service.", merge=Merge.LIST
    )
    connect: tuple[Address, ...] = option(
        "connect",
        ADDRESS,
        (),
        "Lead the connections of this service to here; several are tried in turn.",
        merge=Merge.LIST,
    )
    client: bool = option(
        "client", YES_NO, False, "Speak TLS towards `connect` (yes) or towards `accept` (no)."
    )
    delay: bool = option(
        "delay",
        YES_NO,
        False,
        "Look `connect` up for every connection, not only now and then; `failover = rr` becomes `prio` then.",
    )
    failover: str = option(
        "failover",
        choice("rr", "prio", "leastconn", reason="The argument needs to be 'rr', 'prio' or 'leastconn'"),
        "prio",
        "Which of several addresses comes first: the next each time (rr), always the same (prio), or the one "
        "with the fewest connections of this service (leastconn, Culvert's own).",
    )
    local: str | None = option("local", SOME_TEXT, None, "The own address from which `connect` is reached.")
    reset: bool = option(
        "reset", YES_NO, True, "Tell the other side of a tunnel of an error by a TCP reset.", since="4.54"
    )
    close_notify: str = option(
        "closeNotify",
        choice("required", "optional"),
        "required",
        "Whether a TLS peer must announce its end; `optional` takes a bare end of TCP for a clean one.",
        since="Culvert",
    )
    socket: tuple[SocketOption, ...] = option(
        "socket",
        SOCKET,
        DEFAULTS,
        "Set a socket option on the listening (a), accepted (l) or connected (r) socket.",
        merge=Merge.JOIN,
        join=merge,
    )
    redirect: tuple[Address, ...] = option(
        "redirect",
        ADDRESS,
        (),
        "Lead peers whose certificate fails the checks to here.",
        merge=Merge.LIST,
        mode="server",
        since="5.00",
    )
    transport: str = option(
        "transport",
        choice("tcp", "udp"),
        "tcp",
        "Carry streams (TLS over TCP) or datagrams (DTLS over UDP).",
        since="5.79",
        missing=not_yet("there is no DTLS"),
    )
    transparent: str = option(
        "transparent",
        TRANSPARENT,
        "none",
        "Connect from the address of the client, to the address that the client meant, or both.",
    )


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Programs:
    """Programs instead of addresses."""

    exec: str | None = option("exec", FILE, None, "Run this program as the far end of a tunnel.")
    exec_args: tuple[str, ...] = option(
        "execArgs", WORDS, (), "Arguments of `exec`, its own name first; quotes hold blanks together."
    )
    pty: bool = option(
        "pty",
        YES_NO,
        False,
        "Give the program of `exec` a terminal.",
    )
    retry: float | None = option(
        "retry",
        RETRY,
        None,
        "Start the program of a section with `exec` and `connect` again after this time.",
        unit="ms",
        shown="no",
    )


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Negotiation:
    """What is said in clear before TLS, or inside TLS before the tunnel."""

    protocol: str | None = option(
        "protocol",
        choice(*PROTOCOLS, reason="Protocol not supported"),
        None,
        "Negotiate in this protocol before the tunnel opens; see docs/protocols.md.",
    )
    protocol_authentication: str = option(
        "protocolAuthentication",
        choice("basic", "ntlm", "plain", "login"),
        "basic",
        "How to authenticate: basic or ntlm for connect, plain or login for smtp.",
        mode="client",
    )
    protocol_domain: str | None = option(
        "protocolDomain",
        TEXT,
        None,
        "The domain of NTLM.",
        mode="client",
        since="5.24",
    )
    protocol_header: tuple[str, ...] = option(
        "protocolHeader",
        SOME_TEXT,
        (),
        "A further header line of the CONNECT request.",
        merge=Merge.LIST,
        mode="client",
        since="5.58",
    )
    protocol_host: str | None = option(
        "protocolHost",
        SOME_TEXT,
        None,
        "The destination to ask the proxy for, or the own name to tell a mail server.",
    )
    protocol_password: str | None = option(
        "protocolPassword",
        TEXT,
        None,
        "The password for the proxy or the mail server.",
        mode="client",
        secret=True,
    )
    protocol_username: str | None = option(
        "protocolUsername",
        TEXT,
        None,
        "The user name for the proxy or the mail server.",
        mode="client",
    )


STACK = number("Illegal thread stack size", 1)
