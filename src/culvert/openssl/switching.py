"""Another context for a connection whose client has named the service that it wants.

The ClientHello callback is the place for it: OpenSSL has chosen no version yet and has looked for no session,
so a session is only resumed where the service of the name would have made it.  (In the servername callback
that would be too late: the session of another name is resumed by then, and with it the other's identity.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from culvert.openssl._callbacks import _failed, home_of, session_told
from culvert.openssl._errors import begin, check, check_pointer
from culvert.openssl._lib import OPTIONS, ffi, lib
from culvert.openssl.certificates import Certificate, PrivateKey
from culvert.openssl.hello import look_up
from culvert.openssl.keys import tell_keys
from culvert.openssl.protocols import tell_protocols

if TYPE_CHECKING:
    from culvert.openssl.context import Context
    from culvert.openssl.session import Session

NAME_MAX = 255
"""Octets of a server name that OpenSSL takes."""

_HOST_NAME = 0


class Switch:
    """What a connection changes to; made once for a service, before the fork.

    session_context: sessions are resumed under the same only; None: none is resumed.
    tells_keys, tells_protocols: whether the log takes lines about them.
    """

    __slots__ = ("_identities", "_session_context", "context", "tells_keys", "tells_protocols")

    def __init__(
        self,
        context: Context,
        identities: Sequence[tuple[Certificate, PrivateKey, Sequence[Certificate]]],
        session_context: bytes | None,
    ) -> None:
        """identities: to present instead of those of the context; none: the context's own."""
        self.context = context
        self._session_context = session_context
        self._identities = tuple((leaf, key, _stack(above)) for leaf, key, above in identities)
        self.tells_keys = self.tells_protocols = False

    def apply(self, session: Session) -> None:
        """Change a session whose ClientHello is being read.  Raises TlsError; the handshake must end then."""
        begin()
        ssl, home = session._ssl, session.context
        groups = self.context.groups if self.context.groups != home.groups else None
        wanted = ffi.NULL if groups is None else ffi.new("char[]", groups.encode())
        check(lib.culvert_switch(ssl, self.context._ctx, wanted), "switch to another service")
        if home.ask is not None:  # other machines know ids only where the home does without tickets
            lib.SSL_set_options(ssl, home.options & OPTIONS["NO_TICKET"])
        if not home.resumes:  # where sessions are kept, and tickets opened and sealed
            lib.SSL_set_options(ssl, OPTIONS["NO_TICKET"])
            lib.SSL_set_num_tickets(ssl, 0)
        session.context = self.context
        name = (self._session_context if home.resumes else None) or os.urandom(32)
        check(lib.SSL_set_session_id_context(ssl, name, len(name)), "name the session context")
        self._present(ssl)
        if self.tells_keys:
            tell_keys(session)
        if self.tells_protocols:
            tell_protocols(session)

    def try_identities(self) -> None:
        """Raises TlsError when OpenSSL would not present them in this context."""
        session = self.context.session()
        try:
            self._present(session._ssl)
        finally:
            session.close()

    def _present(self, ssl: Any) -> None:
        for leaf, key, above in self._identities:
            begin()
            done = lib.SSL_use_cert_and_key(ssl, leaf._x509, key._key, above, 1)
            check(done, "use the certificate")


_NOTHING_ABOVE: list[Any] = []


def _stack(certificates: Sequence[Certificate]) -> Any:
    """An OpenSSL stack; the empty one is shared.  (Without one OpenSSL would look for issuers itself.)"""
    if not certificates and _NOTHING_ABOVE:
        return _NOTHING_ABOVE[0]
    stack = check_pointer(lib.culvert_certificates_new(), "allocate memory")
    owned = ffi.gc(stack, lib.culvert_certificates_free)
    for certificate in certificates:
        check(lib.culvert_certificates_add(owned, certificate._x509), "collect certificates")
    if not certificates:
        _NOTHING_ABOVE.append(owned)
    return owned


Chooser = Callable[[bytes | None], Switch | None]
"""Takes the name that a client sends, None for none; gives what to change to, None to stay."""


def watch_names(context: Context) -> None:
    """Ask each session's ``chooser`` for the service of its name."""
    begin()
    check(lib.culvert_watch_names(context._ctx), "watch server names")
    context.watch_sessions()


def name_in(extension: bytes) -> bytes | None:
    """The host name of a server_name extension as OpenSSL reads it (RFC 6066, 3); None where it will end the
    handshake, because the extension is malformed.
    """
    size = int.from_bytes(extension[:2], "big")
    length = int.from_bytes(extension[3:5], "big")
    if len(extension) < 5 or size != len(extension) - 2 or extension[2] != _HOST_NAME:
        return None
    name = extension[5:]
    if length != len(name) or length > NAME_MAX or b"\0" in name:
        return None
    return name


def _sent_name(ssl: Any) -> bytes | None:
    data, size = ffi.new("const unsigned char **"), ffi.new("size_t *")
    if not lib.SSL_client_hello_get0_ext(ssl, lib.TLSEXT_TYPE_server_name, data, size):
        return None
    return name_in(bytes(ffi.buffer(data[0], size[0])))


@ffi.def_extern(error=lib.SSL_CLIENT_HELLO_ERROR, onerror=_failed)  # type: ignore[untyped-decorator]
def culvert_on_name(ssl: Any, _alert: Any, _unused: Any) -> int:
    """Let the session's service choose; once, so a second hello or a renegotiation changes nothing."""
    session = session_told(ssl)
    if session is None:
        return int(lib.SSL_CLIENT_HELLO_ERROR)
    chooser, session.chooser = session.chooser, None
    if chooser is not None:
        switch = chooser(_sent_name(ssl))
        if switch is not None:
            switch.apply(session)
    home = home_of(ssl)
    return int(lib.SSL_CLIENT_HELLO_SUCCESS) if home is None else look_up(ssl, session, home)
