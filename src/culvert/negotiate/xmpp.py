"""XMPP and its STARTTLS: RFC 6120 sections 4 and 5; streams of clients.  xmpp_server has those of servers.

Both ends open a new stream inside TLS (RFC 6120, 5.4.3.3), so neither our client nor the far end in server
mode sees anything of the stream before TLS: we are one end of that ourselves.
"""

from __future__ import annotations

import secrets
from typing import Final

from culvert.negotiate._xml import Tag, element, next_tag
from culvert.negotiate.failures import OrderlyEnd, UnexpectedReply
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Peer, Script, Talk, go_ahead_octets, note, send, silent

NEAR, FAR = Peer.NEAR, Peer.FAR
DEBUG: Final = 7
_TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
_STREAMS: Final = "http://etherx.jabber.org/streams"
_STARTTLS: Final = f"<starttls xmlns='{_TLS}'/>"
_PROCEED: Final = f"<proceed xmlns='{_TLS}'/>"
_FEATURES: Final = f"<stream:features><starttls xmlns='{_TLS}'><required/></starttls></stream:features>"
_REFUSAL: Final = (
    "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    "</stream:stream>"
)


def _tell(peer: Peer, text: str) -> Talk[None]:
    yield from note(DEBUG, f" -> {text}")
    yield from send(peer, text.encode())


def _header(namespace: str, attributes: str) -> str:
    names = f"xmlns='{namespace}' xmlns:stream='{_STREAMS}'"
    return f"<?xml version='1.0'?><stream:stream {names} {attributes}version='1.0'>"


def _stream(peer: Peer) -> Talk[Tag]:
    """The peer's stream header."""
    found = yield from next_tag(peer)
    if not found.opens or found.local != "stream" or _STREAMS not in found.attributes.values():
        raise UnexpectedReply("No XMPP stream", found.text.encode())
    return found


def ask_server(terms: Terms, namespace: str = "jabber:client") -> Script:
    """Client side, in clear: ask the server for TLS.  The name of its domain is protocolHost."""
    domain = _escaped(terms.host or "localhost")
    yield from _tell(FAR, _header(namespace, f"to='{domain}' "))
    yield from _stream(FAR)
    features = yield from element(FAR)
    if features[0].local != "features" or not any(_is(each, "starttls") for each in features):
        raise UnexpectedReply("Server does not support TLS", features[0].text.encode())
    yield from _tell(FAR, _STARTTLS)
    answer = yield from element(FAR)
    if not _is(answer[0], "proceed"):
        raise UnexpectedReply("Server does not support TLS", answer[0].text.encode())
    yield from silent(FAR)
    return NOTHING


def offer_tls(_terms: Terms, namespace: str = "jabber:client") -> Script:
    """Server side, before the far end is asked: take a way into TLS and nothing else."""
    header = yield from _stream(NEAR)
    ours = f"from={header.quoted['to']} " if "to" in header.quoted else ""
    yield from _tell(NEAR, _header(namespace, f"{ours}id='{secrets.token_hex(8)}' ") + _FEATURES)
    found = yield from element(NEAR)
    if not _is(found[0], "starttls"):
        yield from _tell(NEAR, _REFUSAL)
        raise OrderlyEnd("Client does not want TLS")
    yield from note(DEBUG, f" -> {_PROCEED}")
    yield from go_ahead_octets(NEAR, _PROCEED.encode())
    return NOTHING


def _is(tag: Tag, name: str) -> bool:
    """Whether it is an element of the namespace of STARTTLS."""
    return tag.local == name and _TLS in tag.attributes.values()


def _escaped(text: str) -> str:
    table = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"}
    return "".join(table.get(each, each) for each in text)


CLIENT: Final = Hooks(middle=ask_server)
SERVER: Final = Hooks(early=offer_tls)
