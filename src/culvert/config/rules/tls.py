"""Names, versions and sessions of TLS."""

from __future__ import annotations

from collections.abc import Iterator

from culvert.config.model import Service
from culvert.config.rules.case import Case, Complaint, Rule
from culvert.config.table.sharing import RedisPlace
from culvert.config.tlsnames import VERSIONS

LONGEST = 7 * 24 * 3600
"""Seconds; no TLS 1.3 ticket may live longer (RFC 8446, 4.6.1)."""

EPOCHS_MAX = 32
"""How many changes of the ticket keys a session may outlive."""


def _server_names(case: Case) -> Iterator[Complaint]:
    service = case.service
    if service.client:
        return
    for number, line in enumerate(service.sni):
        section, colon, pattern = line.partition(":")
        home = case.earlier.get(section)
        if not colon or not pattern:
            yield "sni", f'Invalid SNI parameter format: "{line}" is not SECTION:PATTERN', number
        elif home is None:
            reason = f'SNI section name not found: no section before this one is called "{section}"'
            yield "sni", reason, number
        elif home.client:
            yield "sni", "SNI primary service is a TLS client", number
        elif home.sni:
            reason = f"[{section}] is reached by a server name itself: name the section that accepts"
            yield "sni", reason, number


def _version_range(case: Case) -> Iterator[Complaint]:
    oldest, newest = case.service.ssl_version_min, case.service.ssl_version_max
    if oldest and newest and VERSIONS.index(newest) < VERSIONS.index(oldest):
        reason = f"Invalid protocol version range: {newest} is older than {oldest}"
        yield max(("ssl_version_min", "ssl_version_max"), key=lambda each: _line(case.service, each)), reason


def _line(service: Service, attribute: str) -> int:
    at = service.positions.get(attribute)
    return at.line if at else 0


def _ticket_secrets(case: Case) -> Iterator[Complaint]:
    given = [
        each for each in ("ticket_key_secret", "ticket_mac_secret") if getattr(case.service, each) is not None
    ]
    if len(given) == 1:
        yield given[0], '"ticketKeySecret" and "ticketMacSecret" must be set together'


def _ticket_rotation(case: Case) -> Iterator[Complaint]:
    """An old key must go some day, and each that is still good is one more to try."""
    service, at = case.service, case.service.positions.get("ticket_rotation")
    if service.client or not service.ticket_rotation:
        return
    if service.ticket_key_secret is not None:
        if at is not None:
            yield "ticket_rotation", "the keys that ticketKeySecret and ticketMacSecret give do not change"
        return
    lifetime = LONGEST if service.session_cache_timeout is None else service.session_cache_timeout
    least = min(lifetime, LONGEST) / EPOCHS_MAX
    if service.ticket_rotation < least:
        yield "ticket_rotation", f"needs {least:g} seconds at least, 1/{EPOCHS_MAX} of sessionCacheTimeout"


def _identity(case: Case) -> Iterator[Complaint]:
    service = case.service
    if service.client and service.psk_identity is not None and service.psk_secrets is None:
        yield "psk_identity", '"PSKsecrets" has to name the file with the key of this identity'


def _sharing(case: Case) -> Iterator[Complaint]:
    if case.inetd and isinstance(case.service.sessiond, RedisPlace):
        yield "sessiond", "the one connection of inetd mode begins before Redis is in reach: use host:port"


RULES: tuple[Rule, ...] = (
    (("client", "sni"), _server_names),
    (("ssl_version", "ssl_version_min", "ssl_version_max"), _version_range),
    (("ticket_key_secret", "ticket_mac_secret"), _ticket_secrets),
    (("client", "ticket_key_secret", "ticket_rotation", "session_cache_timeout"), _ticket_rotation),
    (("sessiond",), _sharing),
    (("client", "psk_identity", "psk_secrets"), _identity),
)
