"""AES-256-GCM (NIST SP 800-38D) of the library that also speaks TLS."""

from __future__ import annotations

import os

from culvert.openssl._errors import begin, check
from culvert.openssl._lib import ffi, lib

KEY_SIZE = 32
_NONCE, _TAG = 12, 16


def seal(key: bytes, name: bytes, octets: bytes) -> bytes:
    """Encrypt octets and authenticate them together with ``name``; the nonce is random.

    Good for 2**32 calls with one key of KEY_SIZE octets (8.3).  Raises TlsError when OpenSSL refuses.
    """
    nonce = os.urandom(_NONCE)
    to, tag = ffi.new("unsigned char[]", len(octets) + 1), ffi.new("unsigned char[]", _TAG)
    begin()
    done = lib.culvert_gcm(1, key, nonce, name, len(name), octets, len(octets), to, tag)
    check(done, "seal a session")
    return nonce + bytes(ffi.buffer(tag)) + bytes(ffi.buffer(to, len(octets)))


def unseal(key: bytes, name: bytes, sealed: bytes) -> bytes | None:
    """What seal() was given for the same name, None for everything else."""
    nonce, tag, octets = sealed[:_NONCE], sealed[_NONCE : _NONCE + _TAG], sealed[_NONCE + _TAG :]
    if len(tag) != _TAG:
        return None
    to, compared = ffi.new("unsigned char[]", len(octets) + 1), ffi.new("unsigned char[]", tag)
    done = lib.culvert_gcm(0, key, nonce, name, len(name), octets, len(octets), to, compared)
    begin()
    return bytes(ffi.buffer(to, len(octets))) if done else None
