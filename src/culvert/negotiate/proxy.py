"""The PROXY protocol towards the backend (see proxy_header): who the client of the tunnel is."""

from __future__ import annotations

from culvert.negotiate import proxy_header
from culvert.negotiate.proxy_header import Pair, Place
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Fact, Peer, Script, Talk, learn, send


def tell_version_1(_terms: Terms) -> Script:
    """Send the header of version 1."""
    yield from send(Peer.FAR, proxy_header.version_1((yield from _pair())))
    return NOTHING


def tell_version_2(_terms: Terms) -> Script:
    """Send the header of version 2, with what is known of TLS on the accepted side."""
    secured = yield from learn(Fact.SECURED)
    yield from send(Peer.FAR, proxy_header.version_2((yield from _pair()), secured))
    return NOTHING


def _pair() -> Talk[Pair | None]:
    source = yield from learn(Fact.PEER_ADDRESS)
    destination = yield from learn(Fact.OWN_ADDRESS)
    if source is None or destination is None:
        return None
    return Pair(Place(*source), Place(*destination))


SERVER = Hooks(late=tell_version_1)
