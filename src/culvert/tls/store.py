"""Sessions that every worker may resume: a table in memory that is shared because it is made before the fork.

Theory of operation.  The table has sets of WAYS slots; a session's id says which set.  Nobody ever locks: a
slot is written with one copy and read with one copy, and holds a keyed digest of all that follows it.  A
reader that meets a slot half written by another worker, or written by two at once, finds a digest that does
not fit and has a miss; a miss costs one full handshake.  In a full set the session that would expire first
makes room.

A slot: digest (16 octets), expiry (f64, CLOCK_MONOTONIC, the same in all processes), size of the session
(u16), size of the id (u8), id (32), session.  Free slots are zero.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

WAYS: Final = 8
DIGEST: Final = 16
ID_MAX: Final = 32
_HEAD: Final = struct.Struct("<dHB")
_START: Final = DIGEST + _HEAD.size + ID_MAX

SLOT: Final = 1024
"""Octets of a slot; a session without a peer's certificate takes 150 to 300."""

SLOT_WITH_PEER: Final = 4096
"""The same where peers show certificates, which are part of their sessions."""

UNLIMITED: Final = 20480
"""Sessions kept where the file asks for no limit; OpenSSL's own default."""


class SharedStore:
    """Sessions by id.  Safe in any number of processes; no method blocks or raises for what others wrote.

    entries: sessions that it holds at least room for; timeout: seconds until one expires; slot: octets of
    each.
    """

    def __init__(self, entries: int, timeout: float, slot: int = SLOT) -> None:
        self._sets = -(-entries // WAYS)
        self._slot = slot
        self._timeout = timeout
        self._key = os.urandom(32)
        self._table = mmap.mmap(-1, self._sets * WAYS * slot)

    def keep(self, key: bytes, session: bytes) -> None:
        """Store a session; one that does not fit into a slot is not stored."""
        if not key or len(key) > ID_MAX or len(session) > self._slot - _START:
            return
        now = time.monotonic()
        body = _HEAD.pack(now + self._timeout, len(session), len(key)) + key.ljust(ID_MAX, b"\0") + session
        place = self._place_for(key, now)
        self._table[place : place + DIGEST + len(body)] = self._digest(body) + body

    def find(self, key: bytes) -> bytes | None:
        """The session, or None: unknown, expired, forgotten, or just being overwritten."""
        for place in self._places(key):
            if self._key_at(place) != key:
                continue
            slot = self._table[place : place + self._slot]
            expiry, size, _ = _HEAD.unpack_from(slot, DIGEST)
            body = slot[DIGEST : _START + size]
            if slot[:DIGEST] == self._digest(body) and expiry > time.monotonic():
                return body[_START - DIGEST :]
        return None

    def forget(self, key: bytes) -> None:
        """Remove a session, its secrets too."""
        for place in self._places(key):
            if self._key_at(place) == key:
                self._table[place : place + self._slot] = bytes(self._slot)

    def close(self) -> None:
        """Give this process' view of the table back; it must not be used afterwards."""
        self._table.close()

    def _digest(self, body: bytes) -> bytes:
        return blake2b(body, digest_size=DIGEST, key=self._key).digest()

    def _places(self, key: bytes) -> Iterator[int]:
        first = int.from_bytes(key[:8], "little") % self._sets * WAYS
        return iter(range(first * self._slot, (first + WAYS) * self._slot, self._slot))

    def _key_at(self, place: int) -> bytes:
        size = min(self._head(place)[2], ID_MAX)
        start = place + DIGEST + _HEAD.size
        return self._table[start : start + size]

    def _head(self, place: int) -> tuple[float, int, int]:
        expiry, size, key_size = _HEAD.unpack_from(self._table, place + DIGEST)
        return expiry, size, key_size

    def _place_for(self, key: bytes, now: float) -> int:
        """The slot of that id, else the one whose session has the least time left (a free one has none)."""
        best, least = 0, float("inf")
        for place in self._places(key):
            if self._key_at(place) == key:
                return place
            expiry = self._head(place)[0]
            left = expiry - now if now < expiry <= now + self._timeout else 0.0
            if left < least:
                best, least = place, left
        return best
