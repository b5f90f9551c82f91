"""How many connections a service has, counted over all its workers in memory that they share.

Theory of operation.  A memory file is mapped before the fork.  Each process that accepts takes a *row* of
it, and only ever writes what belongs to its row:

    words          one for each row: the connections of its process
    cells          (address, row) -> connections, in sets of WAYS; an address finds its set by a keyed digest

A cell is one word, changed by compare-and-swap: 36 bits of the address' digest, 12 of the row, 16 of the
count; 0 is empty.  How many an address has is the sum over the cells of its set that have its digest.

A new connection is counted first and compared with the limit afterwards, so two workers that accept at the
same moment may both refuse, but never both let in one too many.

A process that is killed leaves its row behind.  Whoever has a row holds a record lock on it (fcntl(2)),
which the kernel takes away with the process; so a row that can be locked by another is nobody's, and is
emptied by whoever needs the room.  Nothing waits: locks are only tried.
"""

from __future__ import annotations

import enum
import fcntl
import mmap
import os
from hashlib import blake2b
from typing import Final

from culvert.errors import SystemRefusal
from culvert.openssl._lib import ffi, lib

ROWS: Final = 4096
"""Processes that may count at once: workers of this configuration, and of those that only finish."""

WAYS: Final = 64
SETS: Final = 1024

_WORD: Final = 8
_MARK_BITS: Final = 36
_ROW_SHIFT: Final = 16
_MARK_SHIFT: Final = 28
_COUNT: Final = 0xFFFF

_HIGH: Final = 0  # the first word: how many rows were ever taken
_FIRST_ROW: Final = 1
_FIRST_CELL: Final = _FIRST_ROW + ROWS


class Full(enum.Enum):
    """Why there is no seat."""

    SERVICE = "too many connections"
    ADDRESS = "too many connections from one address"
    TABLE = "too many addresses to count"


class Seats:
    """The seats of one service; made before the fork, kept over reloads."""

    def __init__(self) -> None:
        words = _FIRST_CELL + SETS * WAYS
        self._file = -1
        self._file = os.memfd_create("culvert-seats", os.MFD_CLOEXEC)
        os.ftruncate(self._file, words * _WORD)
        self._memory = mmap.mmap(self._file, words * _WORD)
        self._start = ffi.from_buffer(self._memory)
        self._words = memoryview(self._memory).cast("Q")
        self._key = os.urandom(32)
        self._row: int | None = None

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    def occupy(self) -> None:
        """Take a row for this process; only the first call counts.

        Raises SystemRefusal when none is left.
        """
        if self._row is not None:
            return
        for row in range(ROWS):
            if self._try_lock(row):
                self._row = row
                if row < self._words[_HIGH]:
                    self._empty(row)
                self._raise_high(row + 1)
                return
        raise SystemRefusal("Counting connections", "too many processes count for this service")

    def take(self, host: bytes, most: int | None, most_per_host: int | None) -> Full | None:
        """Count a connection of this process; None, or why there is no room, and then it is not counted.

        host: 4 octets of IPv4, 16 of IPv6, of which 8 count; none for a client without an address, which
        only counts for the service.
        """
        self._count(1)
        if most is not None and self._total() > most and self._total_of_the_living() > most:
            self._count(-1)
            return Full.SERVICE
        if most_per_host is None or not host:
            return None
        full = self._take_for(host, most_per_host)
        if full:
            self._count(-1)
        return full

    def leave(self, host: bytes, most_per_host: int | None) -> None:
        """A connection that was counted is over; the arguments are those of take()."""
        self._count(-1)
        if most_per_host is not None and host:
            self._change(self._place(host), -1)

    @property
    def taken(self) -> int:
        """How many connections are counted now, those of dead processes included that nobody noticed yet."""
        return self._total()

    def of_host(self, host: bytes) -> int:
        """How many connections are counted for an address."""
        return self._of_host(self._place(host))

    # Rows.

    @property
    def _own(self) -> int:
        assert self._row is not None, "occupy() comes before everything"
        return self._row

    def _try_lock(self, row: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
        except OSError:
            return False
        return True

    def _raise_high(self, rows: int) -> None:
        while (high := self._words[_HIGH]) < rows and not self._swap(_HIGH, high, rows):
            pass

    def _empty(self, row: int) -> None:
        """Forget what a process that is gone has counted."""
        self._words[_FIRST_ROW + row] = 0
        for index in range(_FIRST_CELL, len(self._words)):
            word = self._words[index]
            if word and word >> _ROW_SHIFT & (ROWS - 1) == row:
                self._swap(index, word, 0)

    def _bury(self, row: int) -> bool:
        """Empty a row if its process is gone."""
        if row == self._row or not self._try_lock(row):
            return False
        self._empty(row)
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, row)
        return True

    # The service's connections.

    def _count(self, by: int) -> None:
        index = _FIRST_ROW + self._own
        count = self._words[index]
        self._swap(index, count, count + by)

    def _total(self) -> int:
        return sum(self._words[_FIRST_ROW : _FIRST_ROW + self._words[_HIGH]])

    def _total_of_the_living(self) -> int:
        for row in range(self._words[_HIGH]):
            if self._words[_FIRST_ROW + row]:
                self._bury(row)
        return self._total()

    # An address' connections.

    def _place(self, host: bytes) -> tuple[int, int]:
        """Of an address: the first cell of its set, and its digest.  A host has 64 bits of IPv6 to itself."""
        digest = int.from_bytes(blake2b(host[:8], digest_size=8, key=self._key).digest(), "big")
        return _FIRST_CELL + digest % SETS * WAYS, digest >> 64 - _MARK_BITS

    def _take_for(self, host: bytes, most: int) -> Full | None:
        place = self._place(host)
        if not self._change(place, 1) and not (self._bury_in(place[0]) and self._change(place, 1)):
            return Full.TABLE
        if self._of_host(place) > most and not (self._bury_in(place[0]) and self._of_host(place) <= most):
            self._change(place, -1)
            return Full.ADDRESS
        return None

    def _change(self, place: tuple[int, int], by: int) -> bool:
        """Count for an address in this process' cell; False when the set has no room for one."""
        first, mark = place
        name = mark << _MARK_SHIFT | self._own << _ROW_SHIFT
        while True:
            index = self._find(first, name)
            if index is None:
                return False
            word = self._words[index]
            count = max((word & _COUNT) + by, 0)
            if self._swap(index, word, name | count if count else 0):
                return True

    def _find(self, first: int, name: int) -> int | None:
        """The cell with this name, else an empty one."""
        empty = None
        for index, word in enumerate(self._words[first : first + WAYS], first):
            if word and word & ~_COUNT == name:
                return index
            if not word and empty is None:
                empty = index
        return empty

    def _of_host(self, place: tuple[int, int]) -> int:
        first, mark = place
        cells = self._words[first : first + WAYS]
        return sum(word & _COUNT for word in cells if word >> _MARK_SHIFT == mark)

    def _bury_in(self, first: int) -> bool:
        """Forget the processes that are gone and have cells in a set; whether there were any."""
        rows = {word >> _ROW_SHIFT & (ROWS - 1) for word in self._words[first : first + WAYS] if word}
        return sum(self._bury(row) for row in rows) > 0

    def _swap(self, index: int, was: int, becomes: int) -> bool:
        return bool(lib.culvert_swap(self._start + index * _WORD, was, becomes))
