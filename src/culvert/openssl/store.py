"""Certificates and keys from elsewhere than PEM: PKCS#12 files, and what a URI names (ossl_store(7))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from culvert.errors import TlsError
from culvert.openssl._errors import begin, check_pointer, fail, take_reasons
from culvert.openssl._lib import ffi, lib
from culvert.openssl.asking import Answer, answering
from culvert.openssl.certificates import Certificate, PrivateKey, _Reader


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file or a URI holds, in its order."""

    keys: tuple[PrivateKey, ...]
    certificates: tuple[Certificate, ...]


class Pkcs12:
    """A PKCS#12 file (RFC 7292): a key, its certificate and others, sealed with a pass phrase."""

    __slots__ = ("_file",)

    def __init__(self, data: bytes) -> None:
        """Raises TlsError when ``data`` is no such file."""
        begin()
        with _Reader(data) as bio:
            file = lib.d2i_PKCS12_bio(bio, ffi.NULL)
        self._file = ffi.gc(check_pointer(file, "read a PKCS#12 file"), lib.PKCS12_free)

    def opened_by(self, phrase: bytes) -> bool:
        """Whether the file's seal is of this phrase; a file without a seal is open to every phrase."""
        if not lib.PKCS12_mac_present(self._file):
            return True
        begin()
        fits = lib.PKCS12_verify_mac(self._file, ffi.new("char[]", phrase), len(phrase))
        if not fits and not phrase:  # "no phrase" and "an empty one" are sealed differently
            fits = lib.PKCS12_verify_mac(self._file, ffi.NULL, 0)
        begin()
        return bool(fits)

    def open(self, phrase: bytes) -> Contents:
        """Take it out.  Raises TlsError, for an algorithm that OpenSSL has not loaded, too."""
        key, leaf = ffi.new("EVP_PKEY **"), ffi.new("X509 **")
        others = ffi.new("CULVERT_X509S **")
        begin()
        if not lib.culvert_pkcs12_parse(self._file, ffi.new("char[]", phrase), key, leaf, others):
            fail("open a PKCS#12 file")
        keys = (PrivateKey(key[0]),) if key[0] != ffi.NULL else ()
        own = [Certificate(leaf[0])] if leaf[0] != ffi.NULL else []
        return Contents(keys, (*own, *_taken_apart(others[0])))


def _taken_apart(stack: Any) -> list[Certificate]:
    if stack == ffi.NULL:
        return []
    owned = ffi.gc(stack, lib.culvert_certificates_free)
    count = lib.culvert_certificates_count(owned)
    return [Certificate.borrow(lib.culvert_certificates_at(owned, at)) for at in range(count)]


def read_uri(uri: str, answer: Answer) -> Contents:
    """Read everything that a URI leads to; ``answer`` is asked for pass phrases and PINs.

    Raises TlsError: no loader for its scheme, nothing there, a wrong phrase.
    """
    begin()
    raw = ffi.new("char[]", uri.encode("utf-8", "surrogateescape"))
    with answering(answer) as (method, data):
        opened = lib.culvert_store_open(raw, method, data)
        store = ffi.gc(check_pointer(opened, "open a URI"), lib.OSSL_STORE_close)
        return _all_of(store)


def _all_of(store: Any) -> Contents:
    keys: list[PrivateKey] = []
    certificates: list[Certificate] = []
    while not lib.OSSL_STORE_eof(store):
        begin()
        item = lib.OSSL_STORE_load(store)
        if item == ffi.NULL:  # the end is no error; nothing says so but an empty queue
            reasons = take_reasons()
            if reasons or not lib.OSSL_STORE_eof(store):
                raise TlsError("read what a URI names", reasons)
            break
        _sort_in(ffi.gc(item, lib.OSSL_STORE_INFO_free), keys, certificates)
    return Contents(tuple(keys), tuple(certificates))


def _sort_in(item: Any, keys: list[PrivateKey], certificates: list[Certificate]) -> None:
    kind = lib.OSSL_STORE_INFO_get_type(item)
    if kind == lib.OSSL_STORE_INFO_PKEY:
        keys.append(PrivateKey(check_pointer(lib.OSSL_STORE_INFO_get1_PKEY(item), "take a key")))
    elif kind == lib.OSSL_STORE_INFO_CERT:
        found = lib.OSSL_STORE_INFO_get1_CERT(item)
        certificates.append(Certificate(check_pointer(found, "take a certificate")))
