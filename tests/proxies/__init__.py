"""Proxies under test, of any make, and scripted peers around them.

``running`` starts a proxy from the text of its configuration; ``Crossing`` puts a scripted TLS peer on one
side of it and a scripted plain peer on the other.  The peers do exactly what they are told to do to their
sockets, and report what they saw: octets, SHA-256, and the ending.
"""

from __future__ import annotations

from tests.proxies.configuration import CLIENT_CAPABLE, TunnelText
from tests.proxies.crossing import SMALL, Crossing, Variant, dial, listening
from tests.proxies.plain import EAGER, SLOW, Pace, PlainPeer
from tests.proxies.running import Kind, Proxy, need, need_program, running
from tests.proxies.seen import Deadline, PeerTrouble, Seen, Wire, digest_of, payload
from tests.proxies.tls import TlsPeer, client_context, server_context

__all__ = [
    "CLIENT_CAPABLE",
    "EAGER",
    "SLOW",
    "SMALL",
    "Crossing",
    "Deadline",
    "Kind",
    "Pace",
    "PeerTrouble",
    "PlainPeer",
    "Proxy",
    "Seen",
    "TlsPeer",
    "TunnelText",
    "Variant",
    "Wire",
    "client_context",
    "dial",
    "digest_of",
    "listening",
    "need",
    "need_program",
    "payload",
    "running",
    "server_context",
]
