"""Single parts of a certificate, for those who are told of a client."""

from __future__ import annotations

from culvert.openssl._errors import begin
from culvert.openssl._lib import ffi, lib
from culvert.openssl.certificates import Certificate


def common_name(certificate: Certificate) -> bytes:
    """The last common name of the subject, the most specific one, in UTF-8; empty when there is none."""
    name = lib.X509_get_subject_name(certificate._x509)
    place = -1
    while (following := lib.X509_NAME_get_index_by_NID(name, lib.NID_commonName, place)) >= 0:
        place = following
    if place < 0:
        return b""
    text = lib.X509_NAME_ENTRY_get_data(lib.X509_NAME_get_entry(name, place))
    out = ffi.new("unsigned char **")
    size = lib.ASN1_STRING_to_UTF8(out, text)
    if size < 0:  # characters that are none in the encoding that it claims
        begin()
        return b""
    try:
        return bytes(ffi.buffer(out[0], size))
    finally:
        lib.culvert_free(out[0])


def signature_name(certificate: Certificate) -> str:
    """The algorithm of its signature as OpenSSL calls it: ``RSA-SHA256``, ``ecdsa-with-SHA256``."""
    name = lib.OBJ_nid2sn(lib.X509_get_signature_nid(certificate._x509))
    return "" if name == ffi.NULL else str(ffi.string(name).decode())
