"""The control connection of CapWIN: the local application hands over the credentials for later tunnels."""

from __future__ import annotations

from typing import Final

from culvert.negotiate.capwin import credentials, secret
from culvert.negotiate.failures import OrderlyEnd
from culvert.negotiate.registry import Hooks, Terms
from culvert.negotiate.steps import Peer, Script, note, store

_NOTICE: Final = 5


def client(_terms: Terms) -> Script:
    """Keep the credentials for every worker of this daemon; such a connection leads nowhere."""
    found = yield from secret(Peer.NEAR)
    credentials(found)
    yield from store(found)
    yield from note(_NOTICE, "CapWIN: Credentials set")
    raise OrderlyEnd("")


CLIENT = Hooks(early=client)
