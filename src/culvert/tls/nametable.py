"""Which of many services a server name belongs to, as fast for ten thousand as for ten.

A pattern is a name, or `*` and what a name ends with; the `*` stands for anything, dots and nothing included.
Case does not matter.  Of several patterns that fit, the first one of the configuration counts (stunnel(8)).
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Match(NamedTuple, Generic[T]):
    """What a name led to."""

    order: int
    pattern: str
    target: T


class NameTable(Generic[T]):
    """Patterns and what they lead to, in the order in which they were added."""

    def __init__(self) -> None:
        self._count = 0
        self._exact: dict[bytes, Match[T]] = {}
        # By their length, so that a name is cut once for each length that there is and not for each pattern.
        self._endings: dict[int, dict[bytes, Match[T]]] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, pattern: str, target: T) -> bool:
        """Returns False when an earlier pattern is the same, so this one is never reached."""
        match = Match(self._count, pattern, target)
        self._count += 1
        octets = pattern.encode("utf-8", "surrogateescape").lower()
        if octets[:1] != b"*":
            return self._exact.setdefault(octets, match) is match
        ending = octets[1:]
        return self._endings.setdefault(len(ending), {}).setdefault(ending, match) is match

    def targets(self) -> list[T]:
        """All that patterns lead to, in no order."""
        rooms = (self._exact, *self._endings.values())
        return [match.target for room in rooms for match in room.values()]

    def find(self, name: bytes) -> Match[T] | None:
        """The first pattern that fits."""
        name = name.lower()
        size = len(name)
        found = self._exact.get(name)
        for length, endings in self._endings.items():
            if length <= size:
                match = endings.get(name[size - length :])
                if match is not None and (found is None or match.order < found.order):
                    found = match
        return found
