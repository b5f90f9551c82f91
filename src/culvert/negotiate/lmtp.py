"""LMTP, RFC 2033: SMTP with another hello; its STARTTLS is that of RFC 3207."""

from __future__ import annotations

from typing import Final

from culvert.negotiate import smtp
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import NOTHING, Script


def ask_server(terms: Terms) -> Script:
    """Client side, in clear: show the server's greeting to our client, and ask the server for TLS."""
    return (yield from smtp.ask_server(terms, b"LHLO"))


def offer_tls(_terms: Terms) -> Script:
    """Server side: with the far end's greeting."""
    yield from smtp.serve(b"LHLO")
    return NOTHING


CLIENT: Final = Hooks(middle=ask_server)
SERVER: Final = Hooks(middle=offer_tls, dials_first=True)
