"""Sessions that lie in somebody else's memory: encrypted and authenticated under a secret of the fleet."""

from __future__ import annotations

import hmac
from typing import Protocol

from culvert.openssl.sealing import seal, unseal


class Seal(Protocol):
    """Turns octets into what may be stored under a name, and back."""

    def close(self, name: bytes, octets: bytes) -> bytes:
        """What is stored."""

    def open(self, name: bytes, stored: bytes) -> bytes | None:
        """What close() was given for the same name, None when it is anything else."""


class Clear:
    """Stores octets as they are."""

    def close(self, name: bytes, octets: bytes) -> bytes:
        return octets

    def open(self, name: bytes, stored: bytes) -> bytes | None:
        return stored


class Sealed:
    """Stores them encrypted; the name is authenticated, too."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"culvert: sessions at rest", "sha256")

    def close(self, name: bytes, octets: bytes) -> bytes:
        return seal(self._key, name, octets)

    def open(self, name: bytes, stored: bytes) -> bytes | None:
        return unseal(self._key, name, stored)


def seal_of(key_secret: bytes | None, mac_secret: bytes | None) -> Seal:
    """The seal of a fleet that has these secrets for its tickets; none seals nothing."""
    if key_secret is None or mac_secret is None:
        return Clear()
    return Sealed(key_secret + mac_secret)
