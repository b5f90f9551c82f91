"""How TLS is spoken: versions, ciphers, groups, switches of OpenSSL, its level of strength."""

from __future__ import annotations

from culvert.config.model import Service
from culvert.config.table.tls import DEFAULT_CIPHERS, DEFAULT_CURVES
from culvert.config.tlsnames import KERNEL_TLS, KERNEL_TLS_REFUSED
from culvert.config.values import nearest
from culvert.errors import TlsError
from culvert.openssl import Context
from culvert.openssl._lib import OPTIONS, VERSION
from culvert.openssl.library import fips_is_on
from culvert.tls.faults import Faults
from culvert.tls.library import in_force
from culvert.tls.psk import relies_on_key

HYBRID_GROUP = "X25519MLKEM768"
"""Stands against a later quantum computer (draft-ietf-tls-ecdhe-mlkem); OpenSSL has it from 3.5 on."""

KEYS_ONLY = "!aNULL:!aRSA:!aECDSA:!aDSS"
"""What leaves the ciphers of TLS 1.2 that prove a pre-shared key."""

LEVEL_AT_LEAST = 2
"""The security level where the file names none: OpenSSL's own is raised to it (112 bits)."""

FIPS_CIPHERS = "FIPS:!aNULL:!DH:!kDHEPSK"
FIPS_CURVES = "P-256:P-521:P-384"
"""What is usual where FIPS is on.  OpenSSL counts anonymous ciphers among FIPS; we do not."""

NOT_OF_FIPS = ("X25519", "X448")

COMPRESSION_UP_TO = 1
"""The highest security level at which OpenSSL compresses (SSL_CTX_set_security_level(3))."""

OWN_ORDER = frozenset(("CIPHER_SERVER_PREFERENCE", "PRIORITIZE_CHACHA"))
"""A server takes the best cipher of its own list, and ChaCha20 for clients that put it first.

`options = -CIPHER_SERVER_PREFERENCE` leaves the choice to the client.
"""

TOO_OLD = ("SSLv3", "TLSv1", "TLSv1.1")
"""Versions whose signatures (SHA-1) OpenSSL 3 takes for weaker than any level but 0."""


def apply_settings(faults: Faults, context: Context) -> None:
    """Set all of it; the level first, because it decides what the others may be."""
    service = faults.service
    level = service.security_level
    context.security_level = max(context.security_level, LEVEL_AT_LEAST) if level is None else level
    _set_switches(faults, context)
    _set_versions(faults, context)
    with faults.about("ciphers", "none of these ciphers can be used"):
        _set_ciphers(service, context)
    with faults.about("ciphersuites", "these cipher suites cannot be used"):
        context.set_ciphersuites(_ciphersuites(service))
    if not service.client and service.cert and service.psk_secrets:
        context.set_options(OPTIONS["CIPHER_SERVER_PREFERENCE"])
    _set_groups(faults, context)
    if service.config:
        from culvert.tls.commands import give_commands

        give_commands(faults, context, demands_proof=_demands_proof(service))


def _set_ciphers(service: Service, context: Context) -> None:
    """A client that knows its server by a key offers nothing else, so that the server uses the key."""
    if relies_on_key(service):
        try:
            context.set_ciphers(f"{service.ciphers}:{KEYS_ONLY}")
        except TlsError:  # no such cipher: TLS 1.3 has other means
            pass
        else:
            return
    context.set_ciphers(_ciphers(service))


def _ciphersuites(service: Service) -> str:
    """Those with SHA-256 first where keys are shared: OpenSSL binds a key to that (RFC 8446, 4.2.11), and
    would rather show a certificate than change the suite.
    """
    if not service.psk_secrets:
        return service.ciphersuites
    return ":".join(sorted(service.ciphersuites.split(":"), key=lambda name: not name.endswith("_SHA256")))


def _ciphers(service: Service) -> str:
    """Without ciphers that know neither certificate nor key, where one is demanded: OpenSSL would not ask for
    it.
    """
    ciphers = service.ciphers
    if ciphers == DEFAULT_CIPHERS and fips_is_on():
        ciphers = FIPS_CIPHERS
    return f"{ciphers}:!aNULL" if _demands_proof(service) else ciphers


def _demands_proof(service: Service) -> bool:
    verified = service.verify_chain or service.verify_peer or bool(service.pin)
    return verified or service.require_cert or relies_on_key(service)


def _set_switches(faults: Faults, context: Context) -> None:
    service = faults.service
    names = sorted(service.options_set) + [f"-{name}" for name in sorted(service.options_cleared)]
    for name in names:
        if name.removeprefix("-") not in OPTIONS:
            known = nearest(name.removeprefix("-"), OPTIONS)
            faults.refuse("options", f"{VERSION} does not know {name}", known)
        if name in KERNEL_TLS:  # of a program; a file has been refused at its line
            faults.refuse("options", f"{name} {KERNEL_TLS_REFUSED}")
    if not service.client:
        context.set_options(_mask(OWN_ORDER))
    context.set_options(_mask(service.options_set), _mask(service.options_cleared))
    if in_force().compression:
        _compress(faults, context)
    if not service.renegotiation:
        context.set_options(OPTIONS["NO_RENEGOTIATION"])


def _compress(faults: Faults, context: Context) -> None:
    if context.security_level > COMPRESSION_UP_TO:
        reason = f"`compression` needs `securityLevel = {COMPRESSION_UP_TO}` or 0: OpenSSL allows none above"
        faults.refuse("security_level", reason)
    if "NO_COMPRESSION" not in faults.service.options_set:
        context.set_options(0, OPTIONS["NO_COMPRESSION"])


def _mask(names: frozenset[str]) -> int:
    bits = 0
    for name in names:
        bits |= OPTIONS.get(name, 0)
    return bits


def _set_versions(faults: Faults, context: Context) -> None:
    service = faults.service
    attribute = _version_attribute(service)
    low, high = service.ssl_version_min, service.ssl_version_max
    bounds = f"{low or 'the oldest version'} to {high or 'the newest'}"
    with faults.about(attribute, f"{VERSION} cannot speak {bounds}"):
        context.set_versions(low, high)
    if high in TOO_OLD and context.security_level > 0:
        faults.warn(
            attribute, f"{VERSION} speaks {high} with `securityLevel = 0` only: no handshake will succeed"
        )


def _version_attribute(service: Service) -> str:
    for attribute in ("ssl_version_min", "ssl_version_max"):
        if attribute in service.positions:
            return attribute
    return "ssl_version"


def _check_approved(faults: Faults, groups: str) -> None:
    """The FIPS provider of OpenSSL before 3.4 has these groups, but FIPS does not approve them."""
    refused = [name for name in groups.split(":") if name.lstrip("?*-").upper() in NOT_OF_FIPS]
    if refused and fips_is_on():
        reason = (
            f"{', '.join(refused)} is not approved for key exchange by FIPS (SP 800-56A), and `fips` is on"
        )
        faults.refuse("curves", reason)


def _set_groups(faults: Faults, context: Context) -> None:
    if faults.service.curves is not None:
        _check_approved(faults, faults.service.curves)
        with faults.about("curves", "Invalid groups list in 'curves'"):
            context.set_groups(faults.service.curves)
        return
    if fips_is_on():
        with faults.about("curves", "the usual groups of FIPS cannot be used"):
            context.set_groups(FIPS_CURVES)
        return
    try:
        context.set_groups(f"{HYBRID_GROUP}:{DEFAULT_CURVES}")
    except TlsError:  # an OpenSSL before 3.5
        with faults.about("curves", "the usual groups cannot be used"):
            context.set_groups(DEFAULT_CURVES)
