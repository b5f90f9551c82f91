"""A client that comes back with its session is led to the backend that it had.

Theory of operation.  A session has a token (culvert.openssl.session): a random name that its ticket carries,
and every ticket that follows it, or its id where there is no ticket.  Which backend a token has got stands in
memory that all workers share, and that outlives reloads; the ticket is sealed before the backend is known, so
it cannot stand there.  A backend that was taken out of the configuration, or is down, is not insisted on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from culvert.config.model import Service
from culvert.net.addresses import Endpoint
from culvert.observe.log import INFO, NOTICE
from culvert.openssl.session import Session
from culvert.tls import TlsPolicy
from culvert.tls.resumption import lifetime
from culvert.tls.store import UNLIMITED, SharedStore

Say = Callable[[int, str], None]

SLOT: Final = 256
"""Octets of a slot: the text of an address, of a Unix socket at most."""

STORES_MAX: Final = 256
"""Services whose backends are remembered from one configuration to the next."""


class Persistence:
    """The backends of one service's sessions."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    def preferred(self, session: Session, endpoints: Sequence[Endpoint], say: Say) -> Endpoint | None:
        """The backend that a resumed session had, when it is still among these."""
        if len(endpoints) < 2 or not session.resumed:
            return None
        found = self._store.find(session.token)
        if found is None:
            say(NOTICE, "persistence: No cached address found")
            return None
        text = found.decode("utf-8", "surrogateescape")
        for endpoint in endpoints:
            if endpoint.text == text:
                say(INFO, f"persistence: {text} reused")
                return endpoint
        say(INFO, f"persistence: {text} not available")
        return None

    def remember(self, session: Session, endpoint: Endpoint, say: Say) -> None:
        """The session has got this backend."""
        token = session.token
        if token:
            self._store.keep(token, endpoint.text.encode("utf-8", "surrogateescape"))
            say(INFO, f"persistence: {endpoint.text} cached")


class Stores:
    """What is remembered from one configuration to the next."""

    def __init__(self) -> None:
        self._stores: OrderedDict[tuple[str, int, int], SharedStore] = OrderedDict()

    def store(self, service: Service) -> SharedStore:
        """The store of a service, the same as long as its name and its cache are."""
        entries, seconds = service.session_cache_size or UNLIMITED, lifetime(service)
        key = service.name, entries, seconds
        if key not in self._stores:
            self._stores[key] = SharedStore(entries, seconds, SLOT)
        self._stores.move_to_end(key)
        while len(self._stores) > STORES_MAX:
            self._stores.popitem(last=False)
        return self._stores[key]


KEPT: Final = Stores()


def persistence_of(
    service: Service, policy: TlsPolicy, destinations: Sequence[Endpoint], stores: Stores = KEPT
) -> Persistence | None:
    """What leads clients of a server back; None where there is nothing to choose, or nothing is resumed."""
    if service.client or not service.session_resume or not lifetime(service):
        return None
    if len(destinations) == 1 or not service.connect:  # none: they are looked up for each connection
        return None
    policy.name_sessions()
    return Persistence(stores.store(service))
