"""The keys that a server's session tickets are sealed with (``native/tickets.c``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from culvert.openssl._errors import begin, check
from culvert.openssl._lib import ffi, lib
from culvert.openssl.context import Context

NAME_SIZE = 16
SECRET_SIZES = (16, 32)
"""Octets of a secret; a cipher secret of 16 is for AES-128, one of 32 for AES-256."""


class TicketKey(NamedTuple):
    """One key, as RFC 5077 (section 4) has it.

    name: NAME_SIZE octets that a ticket shows; mac: for HMAC-SHA256; cipher: for AES-CBC, both of
    SECRET_SIZES.  renew: whoever shows a ticket under it gets a fresh one.
    """

    name: bytes
    mac: bytes
    cipher: bytes
    renew: bool = False


def use_ticket_keys(context: Context, keys: Sequence[TicketKey], *, nameless: bool = False) -> None:
    """Seal tickets with the first key from now on, and open those under any of them.

    nameless: the first key opens every ticket that it authenticates, whatever key the ticket names.  Not
    while a handshake of the context is under way in another thread.  Raises TlsError when memory is out.
    """
    sealed = ffi.new("struct ticket_key[]", len(keys))
    for entry, key in zip(sealed, keys, strict=True):
        _fill(entry, key)
    begin()
    check(lib.tickets_use(context._ctx, sealed, len(keys), nameless), "set the ticket keys")
    ffi.memmove(ffi.buffer(sealed), bytes(ffi.sizeof(sealed)), ffi.sizeof(sealed))


def _fill(entry: object, key: TicketKey) -> None:
    if len(key.name) != NAME_SIZE or len(key.mac) not in SECRET_SIZES or len(key.cipher) not in SECRET_SIZES:
        raise ValueError("a ticket key has a name of 16 octets, and secrets of 16 or 32")
    for field in ("name", "mac", "cipher"):
        octets = getattr(key, field)
        ffi.memmove(getattr(entry, field), octets, len(octets))
    entry.mac_size, entry.cipher_size, entry.renew = len(key.mac), len(key.cipher), key.renew  # type: ignore[attr-defined]
