"""Which sessions a client offers to resume by id, and a handshake that waits until they are looked up.

OpenSSL asks for a session in the midst of a step, where nobody can wait.  But it shows the ClientHello
before, and there a handshake may stand still (SSL_CTX_set_client_hello_cb(3)).  So a server whose sessions
may be elsewhere looks at the hello, finds the ids, has them fetched, and goes on when OpenSSL can
find them near by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from culvert.openssl._callbacks import _failed, _session_of
from culvert.openssl._lib import OPTIONS, ffi, lib
from culvert.openssl.context import Context
from culvert.openssl.session import Question, Session

IDS_MAX: Final = 2
"""Ids of one hello that are looked up."""

ID_SIZE: Final = 32
"""Octets of a session's id in TLS 1.3, where it stands for a ticket."""

_TLS13: Final = b"\x03\x04"

Ask = Callable[[tuple[bytes, ...]], Question | None]
"""Takes the ids that a client offers, at least one; gives what must be waited for, None for nothing."""


def ask_for_sessions(context: Context, ask: Ask) -> None:
    """Have ``ask`` look for the sessions that clients of this server name."""
    context.ask = ask
    context.watch_sessions()
    lib.culvert_look_at_hellos(context._ctx)


@ffi.def_extern(error=0, onerror=_failed)  # type: ignore[untyped-decorator]
def culvert_on_hello(ssl: Any, _alert: Any, _unused: Any) -> int:
    """Let a handshake stand still while a session is looked up, but once only."""
    session = _session_of(ssl)
    return look_up(ssl, session, session.context)


def look_up(ssl: Any, session: Session, home: Context) -> int:
    """What a ClientHello callback returns: stand still for a session of ``home``, or go on."""
    if session.question is None and home.ask is not None:
        ids = _offered(ssl)
        session.question = home.ask(ids) if ids else None
        if session.question is not None:
            return int(lib.SSL_CLIENT_HELLO_RETRY)
    return int(lib.SSL_CLIENT_HELLO_SUCCESS)


def _offered(ssl: Any) -> tuple[bytes, ...]:
    """The ids that OpenSSL is going to ask for."""
    options = lib.SSL_get_options(ssl)
    tickets = not options & OPTIONS["NO_TICKET"]
    highest = lib.SSL_get_max_proto_version(ssl)
    speaks = highest in (0, lib.TLS1_3_VERSION) and not options & OPTIONS["NO_TLSv1_3"]
    if speaks and speaks_tls13(_extension(ssl, lib.TLSEXT_TYPE_supported_versions)):
        return () if tickets else shared_key_ids(_extension(ssl, lib.TLSEXT_TYPE_psk))
    if tickets and _extension(ssl, lib.TLSEXT_TYPE_session_ticket):
        return ()
    start = ffi.new("const unsigned char **")
    size = lib.SSL_client_hello_get0_session_id(ssl, start)
    return (ffi.buffer(start[0], size)[:],) if 0 < size <= ID_SIZE else ()


def _extension(ssl: Any, number: int) -> bytes:
    """What an extension of the hello holds; empty where it is absent."""
    start, size = ffi.new("const unsigned char **"), ffi.new("size_t *")
    if not lib.SSL_client_hello_get0_ext(ssl, number, start, size):
        return b""
    return bytes(ffi.buffer(start[0], size[0]))


def speaks_tls13(versions: bytes) -> bool:
    """Whether TLS 1.3 is among the supported_versions (RFC 8446, 4.2.1) of a client."""
    size = versions[0] if versions else 0
    return any(versions[at : at + 2] == _TLS13 for at in range(1, min(size, len(versions) - 1), 2))


def shared_key_ids(extension: bytes) -> tuple[bytes, ...]:
    """The first IDS_MAX identities of pre_shared_key (RFC 8446, 4.2.11) that have ID_SIZE octets.

    An extension that is cut off or wrong in itself has none: OpenSSL will say so to the client.
    """
    end = 2 + int.from_bytes(extension[:2], "big")
    if end > len(extension):
        return ()
    found: list[bytes] = []
    at = 2
    while at + 2 <= end:
        size = int.from_bytes(extension[at : at + 2], "big")
        identity = extension[at + 2 : at + 2 + size]
        at += 2 + size + 4  # the ticket's age
        if at > end:
            return ()
        if size == ID_SIZE:
            found.append(identity)
    return tuple(found[:IDS_MAX])
