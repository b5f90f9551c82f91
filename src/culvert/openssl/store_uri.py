"""Certificates behind a URI that OpenSSL can open (ossl_store(7)): a file of any of its formats, a folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from culvert.errors import TlsError
from culvert.openssl._errors import begin, check_pointer, fail, take_reasons
from culvert.openssl._lib import ffi, lib
from culvert.openssl.certificates import Certificate


def certificates_at(uri: str) -> tuple[list[Certificate], list[str]]:
    """The certificates, and a sentence for each entry of a folder that could not be read.

    Folders in a folder are passed over.  Nobody is asked for a pass phrase.  Raises TlsError when the URI
    itself cannot be opened or read.
    """
    certificates: list[Certificate] = []
    unread: list[str] = []
    for entry in _entries(uri):
        if isinstance(entry, Certificate):
            certificates.append(entry)
            continue
        try:
            certificates += [each for each in _entries(entry) if isinstance(each, Certificate)]
        except TlsError as error:
            unread.append(f"{entry}: {error.reason or error.doing}")
    return certificates, unread


def _entries(uri: str) -> Iterator[Certificate | str]:
    """What a URI has: certificates, and names of further URIs."""
    begin()
    raw = uri.encode("utf-8", "surrogateescape")
    store = check_pointer(lib.culvert_store_open(raw, ffi.NULL, ffi.NULL), f"open {uri}")
    try:
        lib.OSSL_STORE_expect(store, lib.OSSL_STORE_INFO_CERT)
        while not lib.OSSL_STORE_eof(store):
            begin()
            info = lib.OSSL_STORE_load(store)
            if info == ffi.NULL:
                _check_end(store, uri)
                continue
            owned = ffi.gc(info, lib.OSSL_STORE_INFO_free)
            yield from _entry(owned)
    finally:
        lib.OSSL_STORE_close(store)
        begin()


def _check_end(store: Any, uri: str) -> None:
    """Nothing came: at the end of it that is no error, elsewhere it is."""
    reasons = take_reasons()
    if reasons or not lib.OSSL_STORE_eof(store):
        raise TlsError(f"read {uri}", reasons)


def _entry(info: Any) -> Iterator[Certificate | str]:
    kind = lib.OSSL_STORE_INFO_get_type(info)
    if kind == lib.OSSL_STORE_INFO_CERT:
        certificate = lib.OSSL_STORE_INFO_get1_CERT(info)
        if certificate == ffi.NULL:
            fail("take a certificate out of a store")
        yield Certificate(certificate)
    elif kind == lib.OSSL_STORE_INFO_NAME:
        yield ffi.string(lib.OSSL_STORE_INFO_get0_NAME(info)).decode("utf-8", "surrogateescape")
