"""Pre-shared keys of a context (RFC 4279; RFC 8446, 4.2.11).  Which key is used is looked up in C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from culvert.openssl._callbacks import ignore_lost_line, session_told
from culvert.openssl._errors import begin, check, check_pointer
from culvert.openssl._lib import ffi, lib

if TYPE_CHECKING:
    from culvert.openssl.context import Context
    from culvert.openssl.session import Session

LONGEST_IDENTITY: int = lib.PSK_MAX_IDENTITY_LEN - 1
"""Octets that OpenSSL takes: 255, before OpenSSL 3 127."""

LONGEST_KEY: int = lib.PSK_MAX_PSK_LEN
"""Octets that OpenSSL takes: 512, before OpenSSL 3 256."""

_NOTICE, _INFO = 5, 6


def use_keys(context: Context, keys: Sequence[tuple[bytes, bytes]]) -> None:
    """Know these (identity, key) pairs, no identity twice; a client uses the only one.

    Identities have no zero octet.  Once for a context.  Raises TlsError.
    """
    begin()
    table = check_pointer(lib.culvert_keys_new(len(keys)), "allocate memory")
    for identity, key in keys:
        if not lib.culvert_keys_add(table, ffi.new("char[]", identity), key, len(key)):
            lib.culvert_keys_free(table)
            check(0, "allocate memory")
    if not lib.culvert_keys_use(context._ctx, table, context.server):
        lib.culvert_keys_free(table)
        check(0, "use the pre-shared keys")
    context.watch_sessions()


def tell_keys(session: Session) -> None:
    """Report each key that the handshake of this session asks for."""
    check(lib.culvert_tell_keys(session._ssl), "mark the session")


@ffi.def_extern(onerror=ignore_lost_line)  # type: ignore[untyped-decorator]
def culvert_on_key(ssl: Any, identity: Any, found: int) -> None:
    """A key was looked up; what is told of it decides nothing.  The words are stunnel's."""
    session = session_told(ssl)
    if session is None:
        return
    session.by_key = session.by_key or bool(found)
    name = ffi.string(identity).decode("utf-8", "surrogateescape")
    if not session.server:
        session.report(_INFO, f'PSK client configured for identity "{name}"')
    elif found:
        session.report(_NOTICE, f'Key configured for PSK identity "{name}"')
    elif name.isprintable():
        session.report(_INFO, f"PSK identity not found: {name}")
    else:  # a ticket, which OpenSSL offers here before it tries to open it
        session.report(_INFO, "PSK identity not found (session resumption?)")
