"""Revocation lists (RFC 5280, 5): reading them, and checking a context's peers against them."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from typing import Any, Self

from culvert.openssl._errors import begin, check, check_pointer
from culvert.openssl._lib import ffi, lib
from culvert.openssl.certificates import _from_now, _password, _Reader, name_text, text_of
from culvert.openssl.context import Context

REVOKED: int = lib.X509_V_ERR_CERT_REVOKED


class RevocationList:
    """One list of an authority; owns it."""

    __slots__ = ("_crl",)

    def __init__(self, crl: Any) -> None:
        self._crl = ffi.gc(crl, lib.X509_CRL_free)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read the first list (``X509 CRL``).  Raises TlsError."""
        begin()
        with _Reader(pem) as bio:
            crl = lib.PEM_read_bio_X509_CRL(bio, ffi.NULL, _password(), ffi.NULL)
        return cls(check_pointer(crl, "read the revocation list"))

    @property
    def der(self) -> bytes:
        out = ffi.new("unsigned char **")
        size = check(lib.i2d_X509_CRL(self._crl, out), "encode a revocation list")
        try:
            return bytes(ffi.buffer(out[0], size))
        finally:
            lib.culvert_free(out[0])

    @property
    def issuer(self) -> str:
        return name_text(lib.X509_CRL_get_issuer(self._crl))

    @property
    def begins_in(self) -> datetime.timedelta:
        """From now to thisUpdate; negative when that has passed."""
        return _from_now(lib.X509_CRL_get0_lastUpdate(self._crl))

    @property
    def ends_in(self) -> datetime.timedelta | None:
        """From now to nextUpdate; negative when it has passed, None when the list names none."""
        end = lib.X509_CRL_get0_nextUpdate(self._crl)
        return None if end == ffi.NULL else _from_now(end)

    @property
    def ends(self) -> str:
        """nextUpdate as OpenSSL prints it, or empty."""
        end = lib.X509_CRL_get0_nextUpdate(self._crl)
        return "" if end == ffi.NULL else text_of(lambda bio: lib.ASN1_TIME_print(bio, end))


def check_revocation(
    context: Context, lists: Iterable[RevocationList], folder: str | None, *, whole_chain: bool
) -> None:
    """Refuse peers that are in a list, and those whose issuer has no list that is valid now.

    folder: of hashed names (HASH.rN, openssl-rehash(1)), looked through while a chain is verified.
    whole_chain: check every certificate of it, else the leaf only.
    """
    begin()
    store = ffi.gc(check_pointer(lib.X509_STORE_new(), "allocate memory"), lib.X509_STORE_free)
    for each in lists:
        check(lib.X509_STORE_add_crl(store, each._crl), "take a revocation list")
    if folder is not None:
        check(lib.X509_STORE_load_path(store, os.fsencode(folder)), "use a folder of revocation lists")
    done = lib.culvert_check_revocation(context._ctx, store, whole_chain)
    check(done, "check for revocation")
