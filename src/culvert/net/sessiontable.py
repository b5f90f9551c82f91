"""The sessions that a server of stunnel's protocol holds: bounded in number and octets, each for its time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from culvert.net.sessiond import ERROR, GET, LONGEST, NEW, OK, REMOVE, Packet, parse

ENTRY_COST: Final = 400
"""Octets that Python takes for an entry beside the session itself, about."""


class _Entry(NamedTuple):
    expires: float
    session: bytes


class SessionTable:
    """Answers datagrams.

    entries: sessions at most; octets: of memory that they may take.  When there is no room, the session that
    was stored first goes.
    """

    def __init__(self, entries: int, octets: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries, self._octets, self._clock = entries, octets, clock
        self._table: OrderedDict[bytes, _Entry] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._table)

    def answer(self, octets: bytes) -> bytes | None:
        """What is sent back for a datagram, None for nothing; whatever it holds, it is never raised for."""
        request = parse(octets)
        if request is None:
            return None
        if request.kind == NEW:
            self._keep(request)
        elif request.kind == REMOVE:
            self._remove(request.key)
        elif request.kind == GET:
            return self._find(request.key).octets
        return None

    def sweep(self) -> None:
        """Remove what has expired."""
        now = self._clock()
        for key in [key for key, entry in self._table.items() if entry.expires <= now]:
            self._remove(key)

    def _keep(self, request: Packet) -> None:
        self._remove(request.key)
        expires = self._clock() + min(request.seconds, LONGEST)
        self._table[request.key] = _Entry(expires, request.session)
        self._size += len(request.session) + ENTRY_COST
        while len(self._table) > self._entries or self._size > self._octets:
            self._remove(next(iter(self._table)))

    def _find(self, key: bytes) -> Packet:
        entry = self._table.get(key)
        left = entry.expires - self._clock() if entry is not None else 0.0
        if entry is None or left <= 0:
            self._remove(key)
            return Packet(ERROR, 0, key, b"")
        return Packet(OK, int(left), key, entry.session)

    def _remove(self, key: bytes) -> None:
        entry = self._table.pop(key, None)
        if entry is not None:
            self._size -= len(entry.session) + ENTRY_COST
