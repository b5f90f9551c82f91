"""Sessions that a client may resume, by destination, newest first; of one process.

A TLS 1.3 ticket is shown once, so that two connections cannot be linked by it (RFC 8446, C.4); a TLS 1.2
session is shown until it expires.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict, deque

from culvert.openssl.session import SavedSession

PER_DESTINATION = 4
"""A busy tunnel opens several connections before the first brings a new ticket."""

DESTINATIONS_MAX = 1024


class ClientMemory:
    """The sessions of one service.  destinations: how many are remembered, the latest used."""

    def __init__(self, destinations: int = DESTINATIONS_MAX) -> None:
        self._limit = max(1, min(destinations or DESTINATIONS_MAX, DESTINATIONS_MAX))
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._sessions: dict[int, deque[SavedSession]] = {}
        self._next = itertools.count(1)

    def number(self, destination: str) -> int:
        """The number that stands for a destination; it is never given to another one."""
        number = self._numbers.get(destination)
        if number is None:
            number = next(self._next)
            self._sessions[number] = deque(maxlen=PER_DESTINATION)
        self._numbers[destination] = number
        self._numbers.move_to_end(destination)
        if len(self._numbers) > self._limit:
            _, oldest = self._numbers.popitem(last=False)
            del self._sessions[oldest]
        return number

    def keep(self, destination: int, session: SavedSession) -> None:
        """Remember a session; called by OpenSSL, also long after the handshake (TLS 1.3)."""
        sessions = self._sessions.get(destination)
        if sessions is not None:
            sessions.append(session)

    def take(self, destination: int) -> SavedSession | None:
        """The newest session that may be offered now, or None."""
        sessions = self._sessions[destination]
        while sessions:
            session = sessions.pop()
            if not session.usable or session.ends_at <= time.time():
                continue
            if not session.single_use:
                sessions.append(session)
            return session
        return None
