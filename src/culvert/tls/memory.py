"""Sessions that a client may resume, by destination, newest first; one memory for all workers of a service.

A TLS 1.3 ticket is shown once, so that two connections cannot be linked by it (RFC 8446, C.4); a TLS 1.2
session is shown until it expires or one of its connections is cut.

Theory of operation.  As in culvert.tls.store the table is mapped before the fork, has sets of slots, and
nobody ever waits: a lost session is a full handshake.  But who takes a ticket must be the only one, so each
slot begins with a word that is only ever changed by compare-and-swap:

    0          empty
    even       busy: one process writes the slot, or takes what is in it
    odd        full

Above its lowest bit a word has the time of the change and random bits, so no two changes make the same word,
and a process that was stopped in between cannot take the word of another for its own.  Taking is: full ->
busy, copy, wipe, busy -> empty; when either swap fails, nothing was taken.  Writing is: any -> busy, write,
busy -> full.  A process that dies in between leaves a busy slot, which writers take over after STALE
milliseconds; one that was only stopped, and writes then, spoils at most what is there now: a keyed digest of
the whole content tells.  No copy of a single-use session is ever left in two slots.

A slot: word (8 octets), digest (16), end (f64, seconds since the epoch), size (u16), reusable (u8), mark of
the destination (16, a keyed digest of its text), the session in DER.
"""

from __future__ import annotations

import itertools
import mmap
import os
import secrets
import struct
import time
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from culvert.openssl._lib import ffi, lib
from culvert.openssl.session import SavedSession, decode_session

WAYS: Final = 16
"""Slots of a set: tickets for one destination.  A busy tunnel opens several connections before the first
brings a new one."""

ENTRIES_MAX: Final = 1024
"""Sessions of one service at most, and where the file asks for no limit."""

DESTINATIONS_MAX: Final = 1024

SLOT: Final = 4096
"""Octets of a slot; a session has its peer's certificate in it, and takes 1000 to 3000."""

STALE: Final = 1000
"""Milliseconds after which a busy slot is believed to be left behind."""

_DIGEST: Final = 16
_MARK: Final = 16
_HEAD: Final = struct.Struct("<dHB")
_WORD: Final = struct.Struct("=Q")
_BODY: Final = _WORD.size + _DIGEST
_DER: Final = _HEAD.size + _MARK
"""Where the session begins within what the digest covers."""

_TIME_SHIFT: Final = 22


class ClientMemory:
    """The sessions of one service; made before the fork.  No method blocks or raises for what others wrote.

    entries: how many sessions it may hold, 0 for as many as ENTRIES_MAX.
    """

    def __init__(self, entries: int = ENTRIES_MAX) -> None:
        entries = min(entries or ENTRIES_MAX, ENTRIES_MAX)
        self._ways = min(entries, WAYS)
        self._sets = entries // self._ways
        self._key = os.urandom(32)
        self._table = mmap.mmap(-1, self._sets * self._ways * SLOT)
        self._start = ffi.from_buffer(self._table)
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._marks: dict[int, bytes] = {}
        self._next = itertools.count(1)

    def number(self, destination: str) -> int:
        """This process' number for a destination; it is never given to another one."""
        number = self._numbers.get(destination)
        if number is None:
            number = next(self._next)
            self._marks[number] = self._digest(destination.encode("utf-8", "surrogateescape"))
        self._numbers[destination] = number
        self._numbers.move_to_end(destination)
        if len(self._numbers) > DESTINATIONS_MAX:
            _, oldest = self._numbers.popitem(last=False)
            del self._marks[oldest]
        return number

    def keep(self, destination: int, session: SavedSession) -> None:
        """Remember a session; called by OpenSSL, also long after the handshake (TLS 1.3).

        One that is larger than a slot is not remembered.
        """
        mark, encoded = self._marks.get(destination), session.encoded
        if mark is None or len(encoded) > SLOT - _BODY - _DER:
            return
        body = _HEAD.pack(session.ends_at, len(encoded), not session.single_use) + mark + encoded
        for place, word in self._victims(mark):
            busy = _new_word()
            if self._swap(place, word, busy):
                self._write(place, self._digest(body) + body)
                self._swap(place, busy, _new_word() | 1)
                return

    def take(self, destination: int) -> SavedSession | None:
        """The newest session that may be offered now, or None; a single-use one is nobody else's any more."""
        mark = self._marks[destination]
        for place, word, body in self._sessions(mark):
            end, _, reusable = _HEAD.unpack_from(body)
            over = end <= time.time()
            if (over or not reusable) and not self._empty(place, word):
                continue
            session = None if over else decode_session(body[_DER:])
            if session is not None and session.usable:
                return session
        return None

    def forget(self, destination: int, key: bytes) -> None:
        """Remove the session with the id ``key``: its connection was cut, or refused."""
        mark = self._marks.get(destination)
        if mark is None:
            return
        for place, word, body in self._sessions(mark):
            session = decode_session(body[_DER:])
            if session is not None and session.id == key:
                self._empty(place, word)

    def _empty(self, place: int, word: int) -> bool:
        """Take a full slot's content away from everybody else; False when somebody was faster."""
        busy = _new_word()
        if not self._swap(place, word, busy):
            return False
        self._write(place, bytes(SLOT - _WORD.size))
        return self._swap(place, busy, 0)

    def _read(self, place: int) -> bytes | None:
        """What the digest covers, when it fits."""
        slot = self._table[place + _WORD.size : place + SLOT]
        _, size, _ = _HEAD.unpack_from(slot, _DIGEST)
        body = slot[_DIGEST : _DIGEST + _DER + size]
        return body if slot[:_DIGEST] == self._digest(body) else None

    def _write(self, place: int, content: bytes) -> None:
        start = place + _WORD.size
        self._table[start : start + len(content)] = content

    def _sessions(self, mark: bytes) -> Iterator[tuple[int, int, bytes]]:
        """A destination's sessions, newest first: place, word, and what the digest covers."""
        full = [(word, place) for place, word in self._words(mark) if word & 1]
        for word, place in sorted(full, reverse=True):
            body = self._read(place)
            if body is not None and body.startswith(mark, _HEAD.size):
                yield place, word, body

    def _victims(self, mark: bytes) -> list[tuple[int, int]]:
        """Slots that may be written, best first: empty ones, ones left behind, full ones oldest first."""
        stale = max(_now() - STALE, 1) << _TIME_SHIFT
        found = [(word & 1, word, place) for place, word in self._words(mark) if word & 1 or word < stale]
        return [(place, word) for _, word, place in sorted(found)]

    def _words(self, mark: bytes) -> list[tuple[int, int]]:
        first = int.from_bytes(mark[:8], "little") % self._sets * self._ways
        places = range(first * SLOT, (first + self._ways) * SLOT, SLOT)
        return [(place, _WORD.unpack_from(self._table, place)[0]) for place in places]

    def _swap(self, place: int, was: int, becomes: int) -> bool:
        return bool(lib.culvert_swap(self._start + place, was, becomes))

    def _digest(self, content: bytes) -> bytes:
        return blake2b(content, digest_size=_DIGEST, key=self._key).digest()


def _now() -> int:
    """Milliseconds of a clock that all processes share (CLOCK_MONOTONIC)."""
    return time.monotonic_ns() // 1_000_000


def _new_word() -> int:
    """A word of a busy slot: the time, random bits, and 0."""
    return _now() << _TIME_SHIFT | secrets.randbits(_TIME_SHIFT - 1) << 1
