"""As much of BER as LDAP needs (X.690; RFC 4511, 5.1): definite lengths, tags of one octet, strict."""

from __future__ import annotations

from typing import Final, NamedTuple

from culvert.negotiate.failures import NegotiationFailed

INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
ENUMERATED: Final = 0x0A
SEQUENCE: Final = 0x30

_LONG: Final = 0x80
_LENGTH_OCTETS: Final = 4
_TAG_CONTINUES: Final = 0x1F


class Element(NamedTuple):
    """A tag and its contents."""

    tag: int
    contents: bytes


def bad(reason: str) -> NegotiationFailed:
    """The error for octets that are not what was agreed."""
    return NegotiationFailed(f"LDAP: {reason}")


def encode(tag: int, *parts: bytes) -> bytes:
    """An element of at most 65535 octets of contents, its length in the shortest form."""
    contents = b"".join(parts)
    size = len(contents)
    if size < _LONG:
        return bytes((tag, size)) + contents
    octets = size.to_bytes(1 if size < 0x100 else 2, "big")
    return bytes((tag, _LONG | len(octets))) + octets + contents


def integer(number: int) -> bytes:
    """An INTEGER of 0 to 2**31 - 1."""
    return encode(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def length_octets(first: int) -> int:
    """How many octets follow the first one of a length.  Raises NegotiationFailed for the indefinite form."""
    if first < _LONG:
        return 0
    count = first & ~_LONG
    if not 1 <= count <= _LENGTH_OCTETS:
        raise bad(f"a length of {count} octets" if count else "an indefinite length")
    return count


def read_length(first: int, more: bytes) -> int:
    """The length that its first octet and the ``length_octets(first)`` after it stand for."""
    return int.from_bytes(more, "big") if first >= _LONG else first


class Reader:
    """Takes the elements of some contents one after the other; every call raises NegotiationFailed at the
    first fault."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at == len(self._octets)

    def next(self) -> Element:
        """The next element, whatever its tag."""
        tag = self._take(1)[0]
        if tag & _TAG_CONTINUES == _TAG_CONTINUES:
            raise bad("a tag of several octets")
        first = self._take(1)[0]
        length = read_length(first, self._take(length_octets(first)))
        return Element(tag, self._take(length))

    def expect(self, tag: int) -> bytes:
        """The contents of the next element, which must have this tag."""
        found = self.next()
        if found.tag != tag:
            raise bad(f"tag 0x{found.tag:02x} where 0x{tag:02x} belongs")
        return found.contents

    def number(self, tag: int = INTEGER) -> int:
        """The value of the next element, an integer of 0 to 2**31 - 1 (maxInt of RFC 4511, 4.1.1)."""
        contents = self.expect(tag)
        if not 1 <= len(contents) <= 4 or contents[0] & 0x80:
            raise bad("an integer out of range")
        return int.from_bytes(contents, "big")

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._octets):
            raise bad("an element is longer than what holds it")
        taken = self._octets[self._at : end]
        self._at = end
        return taken
