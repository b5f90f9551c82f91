"""A pin: the SHA-256 digest of the public key that a peer must have (RFC 7469, 2.4), as an option's value."""

from __future__ import annotations

import base64
import binascii
import re

from culvert.config.values import BadValue, Kind

_PIN = re.compile(r"([A-Za-z0-9-]+)/(.*)")
_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}")
_OCTETS = 32
_CHARACTERS = 44  # of 32 octets in base64

HOW = (
    "openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform der | "
    "openssl dgst -sha256 -binary | base64"
)


def parse_pin(text: str) -> str:
    """`sha256/BASE64` -> the same in its one spelling.  Raises BadValue, which says how a pin is made."""
    found = _PIN.fullmatch(text)
    if found is None:
        raise BadValue(f"a pin is written sha256/BASE64; what stands behind the slash comes from: {HOW}")
    algorithm, digest = found.groups()
    if digest.startswith("/") and len(digest) != _CHARACTERS:
        digest = digest[1:]  # curl writes sha256//; but a digest may begin with a slash of its own
    if algorithm.lower() not in ("sha256", "sha-256"):
        raise BadValue(f'a pin is a digest by sha256, not by "{algorithm}"')
    if _HEXADECIMAL.fullmatch(digest):
        octets = bytes.fromhex(digest.replace(":", ""))
        raise BadValue("a pin is written in base64, not in hexadecimal", spelt(octets))
    return spelt(_decoded(digest))


def _decoded(text: str) -> bytes:
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadValue(f"not base64; a pin comes from: {HOW}") from None
    if len(octets) != _OCTETS:
        raise BadValue(f"a digest by sha256 has {_OCTETS} octets, this one has {len(octets)}")
    return octets


def spelt(digest: bytes) -> str:
    """The pin of a digest."""
    return f"sha256/{base64.b64encode(digest).decode()}"


PIN = Kind("sha256/BASE64", parse_pin)
