"""What the log of a start says of a service's TLS, in stunnel's words, where its level asks for it."""

from __future__ import annotations

from collections.abc import Iterator

from culvert.config.model import Service
from culvert.observe.log import DEBUG, INFO
from culvert.openssl import Context
from culvert.openssl._lib import OPTIONS
from culvert.tls.lines import Line
from culvert.tls.settings import LEVEL_AT_LEAST


def setting_lines(service: Service, context: Context) -> Iterator[Line]:
    """Of the levels 6 and 7: what was settled for all connections."""
    if service.debug < INFO:
        return
    yield INFO, _level_line(service, context.security_level)
    yield INFO, f"Session resumption {'enabled' if service.session_resume else 'disabled'}"
    if service.debug < DEBUG:
        return
    old = [name for name in context.ciphers if not name.startswith("TLS_")]
    yield DEBUG, f"Ciphers: {':'.join(old)}"
    yield DEBUG, f"TLSv1.3 ciphersuites: {':'.join(name for name in context.ciphers if name not in old)}"
    masks = [_mask(names) for names in (service.options_set, service.options_cleared)]
    yield DEBUG, f"TLS options: 0x{context.options:08X} (+0x{masks[0]:X}, -0x{masks[1]:X})"


def _level_line(service: Service, level: int) -> str:
    if service.security_level is not None:
        return f"User-specified security level set: {level}"
    if level > LEVEL_AT_LEAST:
        return f"OpenSSL security level is used: {level}"
    return f"stunnel default security level set: {level}"


def _mask(names: frozenset[str]) -> int:
    bits = 0
    for name in names:
        bits |= OPTIONS.get(name, 0)
    return bits
