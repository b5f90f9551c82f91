"""NTLM as the client of an HTTP proxy; the messages and their cryptography are pyspnego's."""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Final

import spnego
from spnego.exceptions import SpnegoError

from culvert.negotiate.failures import NegotiationFailed

_CHALLENGE_MAX: Final = 4096


class Ntlm:
    """One authentication: ask(), then answer() to the proxy's challenge."""

    def __init__(self, username: str, password: str, domain: str, host: str) -> None:
        """domain: may be empty."""
        name = f"{domain}\\{username}" if domain else username
        self._context = spnego.client(
            name, password, hostname=host, service="HTTP", protocol="ntlm",
            options=spnego.NegotiateOptions.use_ntlm,
        )  # fmt: skip

    def ask(self) -> bytes:
        """The first message, in base64."""
        return self._step(None)

    def answer(self, challenge: bytes) -> bytes:
        """The third message, in base64.  Raises NegotiationFailed for a challenge that is none."""
        if len(challenge) > _CHALLENGE_MAX:
            raise NegotiationFailed("Proxy-Authenticate: NTLM challenge too long")
        try:
            return self._step(base64.b64decode(challenge, validate=True))
        except binascii.Error:
            raise NegotiationFailed("Proxy-Authenticate: NTLM challenge is not base64") from None

    def _step(self, token: bytes | None) -> bytes:
        """pyspnego reads a peer's structure without many checks: whatever it raises is the peer's fault."""
        try:
            made = self._context.step(token)
        except (SpnegoError, struct.error, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise NegotiationFailed(f"Proxy-Authenticate: Failed to build NTLM response: {error}") from error
        if not made:
            raise NegotiationFailed("Proxy-Authenticate: Failed to build NTLM response")
        return base64.b64encode(made)
