"""What a program of `exec` is told about the tunnel in its environment.

stunnel's manual names REMOTE_HOST, REMOTE_PORT, SSL_CLIENT_DN and SSL_CLIENT_I_DN; the others have the
names that they have under Apache's mod_ssl.  Variables of these names that the daemon itself was started
with are left out: a program that finds a client's name in its environment can rely on it that this client
has shown it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from culvert.errors import printable
from culvert.openssl.altnames import other_names, serial_number
from culvert.openssl.certificates import Certificate

if TYPE_CHECKING:
    from culvert.openssl.session import Session

_OURS = ("SSL_CLIENT_", "SSL_PROTOCOL", "SSL_CIPHER", "SSL_TLS_SNI", "REMOTE_HOST", "REMOTE_PORT")


def environment(peer: tuple[str, int] | None, session: Session | None) -> dict[str, str]:
    """The daemon's environment, and what is known of this tunnel.

    peer: the numeric address of the accepted side and its port, None when that is no IP socket.
    session: the TLS session, None before the handshake.
    """
    found = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    if peer is not None:
        found["REMOTE_HOST"], found["REMOTE_PORT"] = peer[0], str(peer[1])
    if session is not None:
        found.update(_of_session(session))
    return found


def _of_session(session: Session) -> Iterator[tuple[str, str]]:
    yield "SSL_PROTOCOL", session.version
    yield "SSL_CIPHER", session.cipher
    if session.server_name is not None:
        yield "SSL_TLS_SNI", printable(session.server_name)
    certificate = session.peer_certificate
    if certificate is None:
        yield "SSL_CLIENT_VERIFY", "NONE"
        return
    verified = session.verify_result
    yield "SSL_CLIENT_VERIFY", f"FAILED:{verified}" if verified else "SUCCESS"
    yield "SSL_CLIENT_DN", printable(certificate.subject)
    yield "SSL_CLIENT_I_DN", printable(certificate.issuer)
    yield "SSL_CLIENT_FINGERPRINT", hashlib.sha256(certificate.der).hexdigest()
    yield "SSL_CLIENT_CERT", _pem(certificate.der)
    yield from _of_certificate(certificate)


def _pem(der: bytes) -> str:
    body = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def _of_certificate(certificate: Certificate) -> Iterator[tuple[str, str]]:
    yield "SSL_CLIENT_M_SERIAL", serial_number(certificate)
    yield "SSL_CLIENT_V_START", certificate.begins
    yield "SSL_CLIENT_V_END", certificate.ends
    counts: Counter[str] = Counter()
    for kind, name in other_names(certificate):
        yield f"SSL_CLIENT_SAN_{kind}_{counts[kind]}", printable(name)
        counts[kind] += 1
