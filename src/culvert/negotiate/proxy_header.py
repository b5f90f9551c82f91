"""The header of the PROXY protocol, versions 1 and 2: octets to addresses and back.

Source: https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt (section numbers are of that text).
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

from culvert.negotiate.failures import NegotiationFailed
from culvert.negotiate.steps import Peer, Talk, exactly, until

V1_MAX: Final = 107
"""The longest header of version 1 in octets, CRLF included (2.1)."""

V2_MAX: Final = 4096
"""How many octets may follow the fixed part of version 2; a bound of our own, addresses take 216."""

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
FIXED: Final = 16
"""Octets of the fixed part of version 2: the signature, version and command, family, length."""

_V2: Final = struct.Struct("!12sBBH")
_TLV: Final = struct.Struct("!BH")
_SSL: Final = struct.Struct("!BI")
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6, _UNIX = 0x11, 0x21, 0x31
_ADDRESS_SIZES: Final = {_TCP4: 12, _TCP6: 36, _UNIX: 216}
_DIGITS: Final = frozenset("0123456789")


Number = ipaddress.IPv4Address | ipaddress.IPv6Address


class Place(NamedTuple):
    """An IP address as text, and a port."""

    host: str
    port: int


class Pair(NamedTuple):
    """Where a connection came from, and which address it came to."""

    source: Place
    destination: Place


class Certificate(NamedTuple):
    """What a version 2 header tells of a client's certificate.

    verify: 0 for one that was verified, else OpenSSL's code for why not (2.2.6).
    now: it was shown in this connection, not in the one whose session was resumed.
    """

    verify: int
    common_name: bytes
    signature: bytes
    key: bytes
    der: bytes
    now: bool


class Secured(NamedTuple):
    """What a version 2 header tells of TLS; empty fields are left out."""

    version: bytes
    cipher: bytes
    alpn: bytes
    authority: bytes
    certificate: Certificate | None


class Header(NamedTuple):
    """A header that was received.  pair: None when the sender speaks for itself (LOCAL) or does not know."""

    version: int
    pair: Pair | None


def bad(reason: str) -> NegotiationFailed:
    """The error for a header that breaks the rules."""
    return NegotiationFailed(f"PROXY protocol: {reason}")


# Writing --------------------------------------------------------------------------------------------------


def version_1(pair: Pair | None) -> bytes:
    """The header line; `UNKNOWN` without addresses, and where the two are of different families."""
    numbers = _numbers(pair)
    if pair is None or numbers is None:
        return b"PROXY UNKNOWN\r\n"
    source, destination = numbers
    ports = f"{pair.source.port} {pair.destination.port}"
    return f"PROXY TCP{source.version} {source} {destination} {ports}\r\n".encode("ascii")


def version_2(pair: Pair | None, secured: Secured | None) -> bytes:
    """The binary header; without addresses the family is UNSPEC, and what is known of TLS is told all the
    same.
    """
    body, family = _addresses(pair)
    if secured is not None:
        body += _tlvs(secured)
    return _V2.pack(SIGNATURE, _PROXY, family, len(body)) + body


def _numbers(pair: Pair | None) -> tuple[Number, Number] | None:
    """Both addresses, None when they are not of one family."""
    if pair is None:
        return None
    source, destination = _number(pair.source.host), _number(pair.destination.host)
    return (source, destination) if source.version == destination.version else None


def _number(host: str) -> Number:
    """An IPv4 client of a listener for both families is an IPv4 client."""
    number = ipaddress.ip_address(host.partition("%")[0])
    return getattr(number, "ipv4_mapped", None) or number


def _addresses(pair: Pair | None) -> tuple[bytes, int]:
    numbers = _numbers(pair)
    if pair is None or numbers is None:
        return b"", 0
    ports = struct.pack("!HH", pair.source.port, pair.destination.port)
    return numbers[0].packed + numbers[1].packed + ports, _TCP4 if numbers[0].version == 4 else _TCP6


def _tlvs(secured: Secured) -> bytes:
    return b"".join(
        (
            _tlv(0x01, secured.alpn),
            _tlv(0x02, secured.authority),
            _tlv(0x20, _ssl(secured)),
        )
    )


def _ssl(secured: Secured) -> bytes:
    """PP2_TYPE_SSL (2.2.6); the verify field is 0 for a verified certificate only."""
    certificate = secured.certificate
    flags, verify, shown = 0x01, 1, b""
    if certificate is not None:
        flags |= 0x06 if certificate.now else 0x04
        verify = certificate.verify
        shown = (
            _tlv(0x22, certificate.common_name)
            + _tlv(0x24, certificate.signature)
            + _tlv(0x25, certificate.key)
            + _tlv(0x28, certificate.der)
        )
    return _SSL.pack(flags, verify) + _tlv(0x21, secured.version) + _tlv(0x23, secured.cipher) + shown


def _tlv(kind: int, value: bytes) -> bytes:
    return _TLV.pack(kind, len(value)) + value if value else b""


# Reading --------------------------------------------------------------------------------------------------


def read_version_1(line: bytes) -> Header:
    """Read a header line, CRLF included.  Raises NegotiationFailed; nothing is tolerated (2.1)."""
    if not line.endswith(b"\r\n") or len(line) > V1_MAX:
        raise bad("the line has no end")
    try:
        words = line[:-2].decode("ascii").split(" ")
    except UnicodeDecodeError:
        raise bad("the line is not ASCII") from None
    if words[:2] == ["PROXY", "UNKNOWN"]:
        return Header(1, None)
    match words:
        case ["PROXY", "TCP4" | "TCP6" as family, source, destination, source_port, destination_port]:
            version = int(family[-1])
            return Header(
                1,
                Pair(
                    Place(_host(source, version), _port(source_port)),
                    Place(_host(destination, version), _port(destination_port)),
                ),
            )
    raise bad("the line is malformed")


def _host(text: str, version: int) -> str:
    try:
        number = ipaddress.ip_address(text)
    except ValueError:
        raise bad(f'"{text}" is no address') from None
    if number.version != version or "%" in text:
        raise bad(f'"{text}" is no address of the family')
    return str(number)


def _port(text: str) -> int:
    if not 1 <= len(text) <= 5 or not _DIGITS.issuperset(text) or (text[0] == "0" and text != "0"):
        raise bad(f'"{text}" is no port')
    if int(text) > 0xFFFF:
        raise bad(f'"{text}" is no port')
    return int(text)


def length_of_version_2(fixed: bytes) -> int:
    """How many octets follow the fixed part.  Raises NegotiationFailed."""
    signature, command, _family, length = _V2.unpack(fixed)
    if signature != SIGNATURE:
        raise bad("the signature is wrong")
    if command not in (_LOCAL, _PROXY):
        raise bad(f"version and command 0x{command:02x} are not known")
    if length > V2_MAX:
        raise bad(f"{length} octets follow, at most {V2_MAX} are read")
    return int(length)


def read_version_2(fixed: bytes, body: bytes) -> Header:
    """Read a binary header; extensions are checked for their lengths and CRC32c is not computed.

    Raises NegotiationFailed.  Families other than TCP over IP give no addresses.
    """
    _signature, command, family, _length = _V2.unpack(fixed)
    if command == _LOCAL:
        return Header(2, None)  # whatever follows is to be skipped (2.2)
    size = _ADDRESS_SIZES.get(family, 0)
    if len(body) < size:
        raise bad("the addresses are cut short")
    if family:
        _check_tlvs(body[size:])
    if family == _TCP4:
        return Header(2, _pair(body, 4))
    return Header(2, _pair(body, 16) if family == _TCP6 else None)


def _pair(body: bytes, width: int) -> Pair:
    source, destination = (str(ipaddress.ip_address(body[at : at + width])) for at in (0, width))
    source_port, destination_port = struct.unpack_from("!HH", body, 2 * width)
    return Pair(Place(source, source_port), Place(destination, destination_port))


def _check_tlvs(octets: bytes) -> None:
    at = 0
    while at < len(octets):
        if at + _TLV.size > len(octets):
            raise bad("an extension is cut short")
        at += _TLV.size + _TLV.unpack_from(octets, at)[1]
    if at != len(octets):
        raise bad("an extension is cut short")


def receive(peer: Peer) -> Talk[Header]:
    """The header that a peer sends before anything else, of either version; nothing behind it is taken."""
    start = yield from exactly(peer, len(SIGNATURE))  # shorter than the shortest header of version 1
    if start == SIGNATURE:
        fixed = start + (yield from exactly(peer, FIXED - len(SIGNATURE)))
        body = yield from exactly(peer, length_of_version_2(fixed))
        return read_version_2(fixed, body)
    if not start.startswith(b"PROXY "):
        raise bad("the peer does not begin with a header")
    if b"\n" in start:
        raise bad("the line is malformed")
    return read_version_1(start + (yield from until(peer, b"\n", V1_MAX - len(start))))
