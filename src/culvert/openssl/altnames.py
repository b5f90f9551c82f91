"""What a certificate says beside its subject: serial number and other names (RFC 5280, 4.2.1.6)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from culvert.openssl._errors import begin
from culvert.openssl._lib import ffi, lib
from culvert.openssl.certificates import Certificate, text_of

_KINDS = {lib.GEN_DNS: "DNS", lib.GEN_EMAIL: "Email", lib.GEN_URI: "URI", lib.GEN_IPADD: "IP"}


def serial_number(certificate: Certificate) -> str:
    """In hexadecimal digits."""
    number = lib.X509_get0_serialNumber(certificate._x509)
    return text_of(lambda bio: lib.i2a_ASN1_INTEGER(bio, number)).replace("\\\n", "")


def other_names(certificate: Certificate) -> Iterator[tuple[str, str]]:
    """Yield ("DNS" | "Email" | "URI" | "IP", text); names of other kinds, and broken ones, are left out."""
    names = lib.culvert_altnames(certificate._x509)
    begin()
    if names == ffi.NULL:
        return
    owned = ffi.gc(names, lib.culvert_altnames_free)
    kind, start, position = ffi.new("int *"), ffi.new("const unsigned char **"), 0
    while (size := lib.culvert_altname(owned, position, kind, start)) >= 0:
        position += 1
        if size:
            octets = bytes(ffi.buffer(start[0], size))
            yield from _named(_KINDS[kind[0]], octets)


def _named(kind: str, octets: bytes) -> Iterator[tuple[str, str]]:
    if kind != "IP":
        yield kind, octets.decode("utf-8", "backslashreplace")
    elif len(octets) in (4, 16):
        yield kind, str(ipaddress.ip_address(octets))
