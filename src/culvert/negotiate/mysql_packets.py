"""Packets of MySQL and MariaDB before the command phase: their framing, the greeting, the client's answer.

Source: https://mariadb.com/kb/en/connection/ and the "Connection Phase" chapter of MySQL's internals manual.
A packet has its length in three octets, little endian, and a sequence number in a fourth.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from culvert.negotiate.failures import NegotiationFailed

HEADER: Final = 4
GREETING_MAX: Final = 1024
PACKET_MAX: Final = 32 * 1024
"""The longest packet that is carried before the command phase; attributes of a connection may be long."""

SSL_REQUEST_SIZE: Final = 32
"""Octets of an SSLRequest, which is the beginning of a HandshakeResponse41 as well."""

CLIENT_SSL: Final = 0x0800
CLIENT_PROTOCOL_41: Final = 0x0200

OK, MORE, SWITCH, ERR = 0x00, 0x01, 0xFE, 0xFF
FAST_AUTH: Final = b"\x01\x03"
"""caching_sha2_password: the password was known, and OK follows without a word of the client."""

_PROTOCOL_10: Final = 10
_CAPABILITIES: Final = struct.Struct("<I")
_LOW: Final = struct.Struct("<H")
_SALT_AND_FILLER: Final = 4 + 8 + 1  # connection id, first part of the salt, a zero
_HY000: Final = b"#HY000"
SECURE_TRANSPORT_REQUIRED: Final = 3159  # ER_SECURE_TRANSPORT_REQUIRED
CONNECTION_ERROR: Final = 2026  # CR_SSL_CONNECTION_ERROR


class Packet(NamedTuple):
    """The number and the contents of a packet."""

    number: int
    contents: bytes

    @property
    def kind(self) -> int:
        """The first octet of the contents, -1 when there is none."""
        return self.contents[0] if self.contents else -1

    def encode(self) -> bytes:
        return len(self.contents).to_bytes(3, "little") + bytes((self.number & 0xFF,)) + self.contents


def bad(reason: str) -> NegotiationFailed:
    """The error for octets that are not what was agreed."""
    return NegotiationFailed(f"MySQL: {reason}")


def length(header: bytes, most: int) -> int:
    """The length of the contents behind a header.  Raises NegotiationFailed when it is over ``most``
    octets."""
    size = int.from_bytes(header[:3], "little")
    if size > most:
        raise bad(f"a packet of {size} octets, at most {most} are carried")
    return size


def refusal(number: int, code: int, text: str) -> bytes:
    """An ERR packet; the first one of a connection has no SQL state (number 0)."""
    state = _HY000 if number else b""
    return Packet(number, b"\xff" + _LOW.pack(code) + state + text.encode("ascii")).encode()


def _low_at(greeting: Packet) -> int:
    """Where the lower half of the capabilities stands in a greeting."""
    contents = greeting.contents
    if greeting.kind != _PROTOCOL_10:
        raise bad(f"the server speaks protocol {greeting.kind}, not 10")
    at = contents.find(b"\0", 1) + 1 + _SALT_AND_FILLER
    if at < 1 + 1 + _SALT_AND_FILLER or at + _LOW.size > len(contents):
        raise bad("the greeting of the server is malformed")
    return at


def offers_tls(greeting: Packet) -> bool:
    """Whether the server of this greeting takes an SSLRequest.  Raises NegotiationFailed for what is no
    greeting."""
    return bool(_LOW.unpack_from(greeting.contents, _low_at(greeting))[0] & CLIENT_SSL)


def with_tls(greeting: Packet, offered: bool) -> Packet:
    """The greeting as that of a server with or without TLS.  Raises NegotiationFailed for what is no
    greeting."""
    at, contents = _low_at(greeting), greeting.contents
    low = _LOW.unpack_from(contents, at)[0] & ~CLIENT_SSL | (CLIENT_SSL if offered else 0)
    return Packet(greeting.number, contents[:at] + _LOW.pack(low) + contents[at + _LOW.size :])


def capabilities(answer: Packet) -> int:
    """What the client of an SSLRequest or a HandshakeResponse41 can do.

    Raises NegotiationFailed for the form before 4.1, which nothing sends any more.
    """
    if len(answer.contents) < SSL_REQUEST_SIZE:
        raise bad("the answer of the client is malformed")
    able = int(_CAPABILITIES.unpack_from(answer.contents)[0])
    if not able & CLIENT_PROTOCOL_41:
        raise bad("the client speaks the protocol before 4.1")
    return able


def with_capabilities(answer: Packet, number: int, able: int) -> Packet:
    """The same answer with another number and other capabilities."""
    return Packet(number, _CAPABILITIES.pack(able) + answer.contents[_CAPABILITIES.size :])


def ssl_request(answer: Packet, able: int) -> bytes:
    """The SSLRequest that goes before this HandshakeResponse41: its first 32 octets.

    MariaDB believes the capabilities that stand here, and not those that come inside TLS.
    """
    contents = _CAPABILITIES.pack(able) + answer.contents[_CAPABILITIES.size : SSL_REQUEST_SIZE]
    return Packet(1, contents).encode()
