"""Sessions that several machines share: those of this one near by, others asked for when a client comes.

A session that is kept here is also given to the others.  A client that names a session which is not here lets
its handshake stand still (culvert.openssl.hello) while it is fetched; what was fetched is kept near by, where
OpenSSL finds it without waiting.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Protocol

from culvert.openssl import Context
from culvert.openssl.hello import ask_for_sessions
from culvert.openssl.session import Question
from culvert.tls.store import SharedStore


class Remote(Protocol):
    """Where machines share sessions.  Nothing blocks, and nothing is raised when it is out of reach."""

    def keep(self, key: bytes, session: bytes, seconds: int) -> None:
        """Store a session for so many seconds."""

    def forget(self, key: bytes) -> None:
        """Remove it."""

    async def fetch(self, key: bytes) -> bytes | None:
        """Look for it; None when it cannot be had within a short time."""


class FleetStore:
    """A SharedStore with a Remote behind it, once a process has one."""

    def __init__(self, near: SharedStore, seconds: int) -> None:
        self._near, self._seconds = near, seconds
        self.remote: Remote | None = None

    def keep(self, key: bytes, session: bytes) -> None:
        """Store a session, here and elsewhere."""
        self._near.keep(key, session)
        if self.remote is not None:
            self.remote.keep(key, session, self._seconds)

    def find(self, key: bytes) -> bytes | None:
        """What is near by."""
        return self._near.find(key)

    def forget(self, key: bytes) -> None:
        """Remove a session, here and elsewhere."""
        self._near.forget(key)
        if self.remote is not None:
            self.remote.forget(key)

    def missing(self, keys: Sequence[bytes]) -> Question | None:
        """What fetches the first of these sessions that is elsewhere; None when one of them is here."""
        if self.remote is None or any(self._near.find(key) is not None for key in keys):
            return None
        return functools.partial(self._fetch, self.remote, tuple(keys))

    async def _fetch(self, remote: Remote, keys: Sequence[bytes]) -> None:
        for key in keys:
            found = await remote.fetch(key)
            if found is not None:
                self._near.keep(key, found)
                return


def share(context: Context, near: SharedStore, seconds: int) -> FleetStore:
    """Resume in ``context`` what any machine of the fleet has negotiated."""
    fleet = FleetStore(near, seconds)
    context.share_sessions(fleet)
    ask_for_sessions(context, fleet.missing)
    return fleet
