"""The server name that a client sends (RFC 6066, 3)."""

from __future__ import annotations

import ipaddress

from culvert.config.model import Service

_OTHER_NAMES = frozenset(("smtp", "lmtp", "socks"))
"""Protocols whose `protocolHost` is no name of the TLS server: it is what we call ourselves, or, with SOCKS,
a destination behind that server, which nobody on the way is to read.
"""

_DOMAINS = frozenset(("xmpp", "xmpp-server"))
"""Protocols whose `protocolHost` is a domain without a port (RFC 6120, 13.7.2.1)."""

WITHOUT_HOST = "localhost"
"""What a destination without a host is called."""


def client_name(service: Service) -> str | None:
    """The name to send, None for none.

    `sni` as it is written, empty for none; else the host of `protocolHost`, where that names the server, or
    of the first `connect`.  An IP literal is sent only when `sni` says so: the standard forbids it, and
    strict servers end the handshake.  Names in other letters than ASCII's are sent as the standard wants them
    (RFC 5890, 2.3.2.1).  Raises ValueError when one cannot be written so.
    """
    if service.sni:
        return in_ascii(service.sni[-1]) or None
    host = _default_host(service)
    return None if _is_ip(host) else in_ascii(host)


def in_ascii(name: str) -> str:
    """The A-labels of a host name.  Raises ValueError."""
    return name if name.isascii() else name.encode("idna").decode()


def _default_host(service: Service) -> str:
    if service.protocol in _DOMAINS and service.protocol_host:
        return service.protocol_host
    if service.protocol_host is not None and service.protocol not in _OTHER_NAMES:
        host, colon, _port = service.protocol_host.rpartition(":")
        return host if colon else WITHOUT_HOST
    first = service.connect[0] if service.connect else None
    return first.host if first is not None and first.host is not None else WITHOUT_HOST


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
