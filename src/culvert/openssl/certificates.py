"""X.509 certificates and private keys, as far as a context or a verification needs them."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Sequence
from typing import Any, Self

from culvert.openssl._errors import begin, check, check_pointer, fail
from culvert.openssl._lib import ffi, lib

_decoding = threading.Lock()

NameKey = bytes
"""A distinguished name in DER, to compare or to look up."""


def text_of(write: Any) -> str:
    """What ``write(bio)`` prints, as text; bytes that are not UTF-8 are replaced."""
    bio = check_pointer(lib.BIO_new(lib.BIO_s_mem()), "allocate memory")
    try:
        write(bio)
        size = lib.BIO_ctrl_pending(bio)
        buffer = ffi.new("char[]", size + 1)
        count = lib.BIO_read(bio, buffer, size)
        return bytes(ffi.buffer(buffer, max(count, 0))).decode("utf-8", "replace")
    finally:
        lib.BIO_free(bio)


def name_text(name: Any) -> str:
    """A name as stunnel logs it: ``C=PL, O=Org, CN=name``; UTF-8 kept, control characters escaped."""
    flags = lib.XN_FLAG_ONELINE & ~lib.ASN1_STRFLGS_ESC_MSB & ~lib.XN_FLAG_SPC_EQ
    return text_of(lambda bio: lib.X509_NAME_print_ex(bio, name, 0, flags))


def name_key(name: Any) -> NameKey:
    """The DER of a name."""
    out = ffi.new("unsigned char **")
    size = lib.i2d_X509_NAME(name, out)
    if size < 0:
        fail("encode a name")
    try:
        return bytes(ffi.buffer(out[0], size))
    finally:
        lib.culvert_free(out[0])


class PrivateKey:
    """A private key in OpenSSL's memory; never printed, never pickled."""

    __slots__ = ("_key", "in_token")

    def __init__(self, key: Any, *, in_token: bool = False) -> None:
        """in_token: this is a handle of a key that an engine holds."""
        self._key = ffi.gc(key, lib.EVP_PKEY_free)
        self.in_token = in_token

    @classmethod
    def from_pem(cls, pem: bytes, passphrase: bytes | None = None) -> Self:
        """Read the first private key.  Raises TlsError, also for a wrong pass phrase; never asks for one."""
        begin()
        if passphrase is None and b"PRIVATE KEY-----" in pem and b"ENCRYPTED" not in pem:
            with _Reader(pem) as bio, _decoding:
                key = lib.culvert_open_key(bio)
            if key != ffi.NULL:
                return cls(key)
            begin()  # the slow way may do, and has the better words for an error
        given = ffi.NULL if passphrase is None else ffi.new("char[]", passphrase)
        with _Reader(pem) as bio:
            key = lib.PEM_read_bio_PrivateKey(bio, ffi.NULL, _password(), given)
        return cls(check_pointer(key, "read the private key"))

    def sign_something(self) -> None:
        """See whether the key can be used, in this process and now.  Raises TlsError."""
        begin()
        check(lib.culvert_key_signs(self._key), "sign with a key")

    @property
    def kind(self) -> str:
        """``RSA``, ``EC``, ``ED25519`` ..."""
        name = lib.EVP_PKEY_get0_type_name(self._key)
        return "" if name == ffi.NULL else str(ffi.string(name).decode())


class Certificate:
    """One X.509 certificate; owns a reference to it."""

    __slots__ = ("_x509",)

    def __init__(self, x509: Any) -> None:
        self._x509 = ffi.gc(x509, lib.X509_free)

    @classmethod
    def borrow(cls, x509: Any) -> Self:
        """Share a certificate that belongs to somebody else."""
        check(lib.X509_up_ref(x509), "share a certificate")
        return cls(x509)

    @classmethod
    def from_pem(cls, pem: bytes) -> Self:
        """Read the first certificate (``CERTIFICATE`` or ``TRUSTED CERTIFICATE``).  Raises TlsError."""
        begin()
        with _Reader(pem) as bio:
            x509 = lib.PEM_read_bio_X509_AUX(bio, ffi.NULL, _password(), ffi.NULL)
        return cls(check_pointer(x509, "read the certificate"))

    @property
    def der(self) -> bytes:
        out = ffi.new("unsigned char **")
        size = check(lib.i2d_X509(self._x509, out), "encode a certificate")
        try:
            return bytes(ffi.buffer(out[0], size))
        finally:
            lib.culvert_free(out[0])

    @property
    def subject(self) -> str:
        return name_text(lib.X509_get_subject_name(self._x509))

    @property
    def issuer(self) -> str:
        return name_text(lib.X509_get_issuer_name(self._x509))

    @property
    def subject_key(self) -> NameKey:
        return name_key(lib.X509_get_subject_name(self._x509))

    @property
    def self_issued(self) -> bool:
        """True when subject and issuer are the same name."""
        mine = lib.X509_get_subject_name(self._x509)
        return bool(lib.X509_NAME_cmp(mine, lib.X509_get_issuer_name(self._x509)) == 0)

    def issued_by(self, other: Certificate) -> bool:
        """True when names, key identifiers and usage say so (X509_check_issued(3)); no signature is
        checked.
        """
        return bool(lib.X509_check_issued(other._x509, self._x509) == lib.X509_V_OK)

    def belongs_to(self, key: PrivateKey) -> bool:
        """True when ``key`` is the private half of this certificate's key."""
        begin()
        match = lib.X509_check_private_key(self._x509, key._key)
        begin()
        return bool(match == 1)

    def same_key(self, other: Certificate) -> bool:
        """True when both hold the same public key."""
        begin()
        mine, theirs = lib.X509_get0_pubkey(self._x509), lib.X509_get0_pubkey(other._x509)
        if ffi.NULL in (mine, theirs):
            return False
        return bool(lib.EVP_PKEY_eq(mine, theirs) == 1)

    @property
    def public_key(self) -> bytes:
        """The public key with its algorithm, in DER: what pins are of (RFC 5280, 4.1)."""
        key = check_pointer(lib.X509_get_X509_PUBKEY(self._x509), "find the key of a certificate")
        out = ffi.new("unsigned char **")
        size = check(lib.i2d_X509_PUBKEY(key, out), "encode the key of a certificate")
        try:
            return bytes(ffi.buffer(out[0], size))
        finally:
            lib.culvert_free(out[0])

    @property
    def key_kind(self) -> str:
        """``RSA``, ``EC`` ..., empty when OpenSSL does not know the key."""
        key = lib.X509_get0_pubkey(self._x509)
        name = ffi.NULL if key == ffi.NULL else lib.EVP_PKEY_get0_type_name(key)
        return "" if name == ffi.NULL else str(ffi.string(name).decode())

    @property
    def key_bits(self) -> int:
        key = lib.X509_get0_pubkey(self._x509)
        return 0 if key == ffi.NULL else int(lib.EVP_PKEY_get_bits(key))

    @property
    def security_bits(self) -> int:
        """Strength of the key in bits, as security levels count it: 112 for RSA-2048."""
        key = lib.X509_get0_pubkey(self._x509)
        return 0 if key == ffi.NULL else int(lib.EVP_PKEY_get_security_bits(key))

    @property
    def begins_in(self) -> datetime.timedelta:
        """From now to notBefore; negative when that has passed."""
        return _from_now(lib.X509_get0_notBefore(self._x509))

    @property
    def ends_in(self) -> datetime.timedelta:
        """From now to notAfter; negative when it has expired."""
        return _from_now(lib.X509_get0_notAfter(self._x509))

    @property
    def ends(self) -> str:
        """notAfter as OpenSSL prints it: ``Jan 31 12:00:00 2026 GMT``."""
        return text_of(lambda bio: lib.ASN1_TIME_print(bio, lib.X509_get0_notAfter(self._x509)))

    @property
    def begins(self) -> str:
        """notBefore in the same form."""
        return text_of(lambda bio: lib.ASN1_TIME_print(bio, lib.X509_get0_notBefore(self._x509)))

    def matching_host(self, host: str) -> str | None:
        """The name in the certificate that covers ``host``, maybe a wildcard (X509_check_host(3)), or
        None.
        """
        raw = host.encode("utf-8", "surrogateescape")
        found = ffi.new("char **")
        if lib.X509_check_host(self._x509, raw, len(raw), 0, found) != 1:
            return None
        if found[0] == ffi.NULL:
            return host
        try:
            return str(ffi.string(found[0]).decode("utf-8", "replace"))
        finally:
            lib.culvert_free(found[0])

    def has_email(self, address: str) -> bool:
        """True when an rfc822Name, or the subject's mail address, is exactly ``address``."""
        raw = address.encode("utf-8", "surrogateescape")
        return bool(lib.X509_check_email(self._x509, raw, len(raw), 0) == 1)

    def has_ip(self, address: str) -> bool:
        """True when an iPAddress is ``address`` (IPv4 or IPv6 text)."""
        return bool(lib.X509_check_ip_asc(self._x509, address.encode("utf-8", "surrogateescape"), 0) == 1)


def stack_of(certificates: Sequence[Certificate]) -> Any:
    """A STACK_OF(X509) that holds references to all of them."""
    stack = lib.culvert_certificates_new()
    owned = ffi.gc(check_pointer(stack, "allocate memory"), lib.culvert_certificates_free)
    for certificate in certificates:
        check(lib.culvert_certificates_add(owned, certificate._x509), "collect certificates")
    return owned


def _from_now(moment: Any) -> datetime.timedelta:
    days, seconds = ffi.new("int *"), ffi.new("int *")
    begin()
    check(lib.ASN1_TIME_diff(days, seconds, ffi.NULL, moment), "read the time of a certificate")
    return datetime.timedelta(days=days[0], seconds=seconds[0])


def _password() -> Any:
    return ffi.addressof(lib, "culvert_password")


class _Reader:
    """A BIO over bytes, freed at the end of the block."""

    def __init__(self, data: bytes) -> None:
        self._data = ffi.from_buffer(data)
        self._bio = check_pointer(lib.BIO_new_mem_buf(self._data, len(data)), "allocate memory")

    def __enter__(self) -> Any:
        return self._bio

    def __exit__(self, *_: object) -> None:
        lib.BIO_free(self._bio)


class Parameters:
    """Diffie-Hellman parameters, read from PEM (``DH PARAMETERS`` or ``X9.42 DH PARAMETERS``)."""

    __slots__ = ("_key",)

    def __init__(self, pem: bytes) -> None:
        begin()
        with _Reader(pem) as bio:
            key = lib.PEM_read_bio_Parameters(bio, ffi.NULL)
        self._key = ffi.gc(check_pointer(key, "read the DH parameters"), lib.EVP_PKEY_free)

    @property
    def bits(self) -> int:
        """Length of the prime in bits."""
        return int(lib.EVP_PKEY_get_bits(self._key))


SELF_SIGNED = frozenset(
    (lib.X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, lib.X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN),
)
"""Errors of verification: the chain ends in a certificate that nobody here has installed."""

ISSUER_UNKNOWN = frozenset(
    (
        lib.X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
        lib.X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        lib.X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        lib.X509_V_ERR_CERT_UNTRUSTED,
    )
)
"""Errors of verification: who signed the certificate is not known here."""
