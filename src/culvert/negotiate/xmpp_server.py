"""XMPP between servers (RFC 6120, 5): as between client and server, in another namespace."""

from __future__ import annotations

from typing import Final

from culvert.negotiate import xmpp
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import Script

_NAMESPACE: Final = "jabber:server"


def ask_server(terms: Terms) -> Script:
    """Client side, in clear: ask the other server for TLS.  The name of its domain is protocolHost."""
    return (yield from xmpp.ask_server(terms, _NAMESPACE))


def offer_tls(terms: Terms) -> Script:
    """Server side, before the far end is asked: take a way into TLS and nothing else."""
    return (yield from xmpp.offer_tls(terms, _NAMESPACE))


CLIENT: Final = Hooks(middle=ask_server)
SERVER: Final = Hooks(early=offer_tls)
