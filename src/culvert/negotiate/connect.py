"""HTTP CONNECT in clear before TLS (RFC 9110, 9.3.6): asking a proxy, and being one."""

from __future__ import annotations

import base64
import re
from typing import Final

from culvert.negotiate.destination import Forbidden, Unknown, Wanted, choose
from culvert.negotiate.failures import NegotiationFailed, OrderlyEnd, UnexpectedReply, shown
from culvert.negotiate.http_head import Head, fields, receive_head, skip_body
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Outcome, Peer, Script, Talk, line, note, say, silent

_INFO: Final = 6
_TARGET: Final = re.compile(rb"(?:\[([0-9A-Fa-f:.]+(?:%[!-~]+)?)\]|([^\[\]/@\s:]+)):([0-9]{1,5})")
_PROXY_AUTHENTICATION_REQUIRED: Final = 407


# Client ---------------------------------------------------------------------------------------------------


def client(terms: Terms) -> Script:
    """Ask the proxy for a connection to `protocolHost`."""
    if terms.authentication == "ntlm":
        yield from _authenticate_ntlm(terms)
    else:
        yield from _ask(terms, *_basic(terms))
    head = yield from receive_head(Peer.FAR)
    if not 200 <= head.status <= 299:
        raise UnexpectedReply(f"CONNECT request rejected{_offered(head)}", head.first)
    yield from silent(Peer.FAR)  # a TLS server does not speak first
    yield from note(_INFO, "CONNECT request accepted")
    return NOTHING


def _ask(terms: Terms, *authorization: bytes) -> Talk[None]:
    """Send the request; the log does not show what proves who we are."""
    host = _encoded(terms.host or "")
    start = (b"CONNECT " + host + b" HTTP/1.1", b"Host: " + host)
    lines = (*start, *authorization, *map(_encoded, terms.headers))
    told = b"\r\n".join(map(_without_secret, lines)).decode("utf-8", "surrogateescape")
    yield from say(Peer.FAR, *lines, b"", shown=told)


def _without_secret(field: bytes) -> bytes:
    name, colon, _value = field.partition(b":")
    return name + colon + b" (hidden)" if name.lower().endswith((b"authorization", b"cookie")) else field


def _basic(terms: Terms) -> tuple[bytes, ...]:
    if terms.username is None or terms.password is None:
        return ()
    both = _encoded(terms.username) + b":" + _encoded(terms.password)
    return (b"Proxy-Authorization: Basic " + base64.b64encode(both),)


def _authenticate_ntlm(terms: Terms) -> Talk[None]:
    from culvert.negotiate.ntlm import Ntlm  # imported when the service was planned

    host = (terms.host or "").rpartition(":")[0]
    ntlm = Ntlm(terms.username or "", terms.password or "", terms.domain or "", host)
    keep = b"Proxy-Connection: keep-alive"
    yield from _ask_ntlm(terms, keep, ntlm.ask())
    head = yield from receive_head(Peer.FAR)
    if head.status != _PROXY_AUTHENTICATION_REQUIRED:
        raise UnexpectedReply("Proxy-Authenticate: NTLM authorization request rejected", head.first)
    challenge = _challenge(head)
    yield from skip_body(Peer.FAR, head)
    if _closes(head):
        raise NegotiationFailed("the proxy closes the connection before NTLM is done")
    yield from _ask_ntlm(terms, keep, ntlm.answer(challenge))


def _ask_ntlm(terms: Terms, keep: bytes, token: bytes) -> Talk[None]:
    yield from _ask(terms, keep, b"Proxy-Authorization: NTLM " + token)


def _challenge(head: Head) -> bytes:
    for value in head.values(b"proxy-authenticate"):
        scheme, _blank, token = value.partition(b" ")
        if scheme.lower() == b"ntlm" and token.strip():
            return token.strip()
    raise NegotiationFailed(f"Proxy-Authenticate: NTLM header not found{_offered(head)}")


def _closes(head: Head) -> bool:
    told = b",".join((*head.values(b"connection"), *head.values(b"proxy-connection"))).lower()
    return b"close" in [each.strip() for each in told.split(b",")]


def _offered(head: Head) -> str:
    """Which ways to authenticate a proxy names that wants us to."""
    schemes = [shown(value.partition(b" ")[0], 20) for value in head.values(b"proxy-authenticate")]
    return f" (the proxy wants {', '.join(schemes)})" if schemes else ""


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# Server ---------------------------------------------------------------------------------------------------


def server(_terms: Terms) -> Script:
    """Take a request; the answer goes out before the destination is connected, since TLS comes between."""
    request = yield from line(Peer.NEAR)
    words = request.split(b" ")
    yield from fields(Peer.NEAR)
    if words[0] != b"CONNECT":
        yield from _refuse(b"400 Bad Request Method", f"No CONNECT: {shown(request)}")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        yield from _refuse(b"400 Bad Request Protocol", f"No HTTP/1: {shown(request)}")
    match = _TARGET.fullmatch(words[1])
    if not match or int(match[3]) > 0xFFFF:
        yield from _refuse(b"400 Bad Request Target", f"No host and port: {shown(words[1])}")
        raise AssertionError
    wanted = Wanted("CONNECT", match[1] or match[2], int(match[3]), False)
    try:
        found = yield from choose(wanted)
    except Unknown as failure:
        yield from _refuse(b"404 Not Found", str(failure))
        raise
    except Forbidden as failure:
        yield from _refuse(b"403 Forbidden", str(failure))
        raise
    yield from silent(Peer.NEAR)
    yield from say(Peer.NEAR, b"HTTP/1.0 200 OK", b"")
    return Outcome(found)


def _refuse(status: bytes, reason: str) -> Talk[None]:
    yield from say(Peer.NEAR, b"HTTP/1.0 " + status, b"")
    raise OrderlyEnd(reason)


CLIENT = Hooks(middle=client)
SERVER = Hooks(early=server)
