"""Application protocols of a context (ALPN, RFC 7301).  Which one is used is chosen in C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from culvert.errors import TlsError
from culvert.openssl._callbacks import ignore_lost_line, session_told
from culvert.openssl._errors import begin, check
from culvert.openssl._lib import ffi, lib

if TYPE_CHECKING:
    from culvert.openssl.context import Context
    from culvert.openssl.session import Session

_ERR = 3


def use_protocols(context: Context, names: Sequence[bytes]) -> None:
    """Offer these, or as a server take the first of them that the client offers.

    Each has 1 to 255 octets; once for a context.  A server ends a handshake with no_application_protocol when
    the client offers others only, and chooses nothing when it offers none.  Raises TlsError.
    """
    begin()
    wire = b"".join(bytes((len(name),)) + name for name in names)
    if context.server:
        check(lib.culvert_protocols_use(context._ctx, wire, len(wire)), "set the application protocols")
        context.watch_sessions()
    elif lib.SSL_CTX_set_alpn_protos(context._ctx, wire, len(wire)):  # 0 is success
        raise TlsError("set the application protocols")


def tell_protocols(session: Session) -> None:
    """Report a client that offers no protocol of ours."""
    check(lib.culvert_tell_protocols(session._ssl), "mark the session")


def agreed_protocol(session: Session) -> bytes | None:
    """What was agreed on, once the handshake is done; None for nothing."""
    name, size = ffi.new("const unsigned char **"), ffi.new("unsigned int *")
    lib.SSL_get0_alpn_selected(session._live(), name, size)
    return bytes(ffi.buffer(name[0], size[0])) if size[0] else None


def names_of(wire: bytes) -> tuple[bytes, ...]:
    """The names of a list as the wire has it; what a cut list has left over is dropped."""
    names = []
    while wire:
        names.append(wire[1 : 1 + wire[0]])
        wire = wire[1 + wire[0] :]
    return tuple(names)


@ffi.def_extern(onerror=ignore_lost_line)  # type: ignore[untyped-decorator]
def culvert_on_no_protocol(ssl: Any, offered: Any, size: int) -> None:
    """The handshake ends because nothing that the client offers is ours."""
    session = session_told(ssl)
    if session is not None:
        names = names_of(bytes(ffi.buffer(offered, size)))
        told = ", ".join(name.decode("utf-8", "replace") for name in names)
        session.report(_ERR, f"ALPN: no protocol in common with the client, which offers {told}")
