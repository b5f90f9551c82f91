"""Versions, ciphers, sessions and pre-shared keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from culvert.config.options import Merge, option
from culvert.config.table.sharing import SESSIOND, RedisPlace
from culvert.config.tlsnames import PROTOCOLS, TLS_OPTION, VERSION
from culvert.config.values import (
    FILE,
    SOME_TEXT,
    TEXT,
    YES_NO,
    Address,
    Kind,
    number,
    seconds,
    secret_bytes,
    unique,
    whole,
)

ROTATION = Kind("seconds", lambda text: float(whole(text, "Illegal ticket rotation", 0, 10**9)))

# What stunnel 5.x offers for TLS 1.2, in that order of strength.
DEFAULT_CIPHERS = "HIGH:!aNULL:!SSLv2:!DH:!kDHEPSK"
DEFAULT_CIPHERSUITES = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
DEFAULT_VERSION_MIN = "TLSv1.2"
DEFAULT_CURVES = "X25519:P-256:X448:P-521:P-384"  # behind X25519MLKEM768, where OpenSSL has it


def _both_bounds(version: str | None) -> Mapping[str, str | None]:
    return {"ssl_version_min": version, "ssl_version_max": version}


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Tls:
    """How TLS is spoken.

    ssl_version_min and ssl_version_max are the effective bounds, None for no bound; sslVersion sets both.
    """

    ciphers: str = option(
        "ciphers", SOME_TEXT, DEFAULT_CIPHERS, "Ciphers of TLS 1.2 and older, as OpenSSL lists them."
    )
    ciphersuites: str = option(
        "ciphersuites",
        TEXT,
        DEFAULT_CIPHERSUITES,
        "Ciphersuites of TLS 1.3, the preferred first.",
        since="5.51",
    )
    curves: str | None = option(
        "curves",
        SOME_TEXT,
        None,
        "Groups for the key exchange, the preferred first, with colons between.",
        aliases=("curve",),
        shown=f"X25519MLKEM768 where OpenSSL has it, then {DEFAULT_CURVES}",
    )
    ssl_version: str | None = option(
        "sslVersion",
        VERSION,
        None,
        "Speak this protocol version only.",
        also=_both_bounds,
        shown="sslVersionMin to sslVersionMax",
    )
    ssl_version_min: str | None = option(
        "sslVersionMin",
        VERSION,
        "",
        "The oldest protocol version to speak.",
        since="5.50",
        shown=DEFAULT_VERSION_MIN,
    )
    ssl_version_max: str | None = option(
        "sslVersionMax", VERSION, None, "The newest protocol version to speak.", since="5.50"
    )
    options: tuple[str, ...] = option(
        "options",
        TLS_OPTION,
        (),
        "Set a switch of OpenSSL, or clear it with a minus sign in front.",
        merge=Merge.JOIN,
        join=unique,
        shown="NO_SSLv2, NO_SSLv3",
    )
    security_level: int | None = option(
        "securityLevel",
        number("Illegal security level", 0, 5),
        None,
        "The strength that OpenSSL demands of keys and algorithms.",
        since="5.57",
        shown="2, or OpenSSL's if higher",
    )
    renegotiation: bool = option(
        "renegotiation", YES_NO, True, "Let the peer renegotiate (TLS 1.2 and older).", since="4.54"
    )
    sni: tuple[str, ...] = option(
        "sni",
        TEXT,
        (),
        "Client: the server name to send, empty for none; the last line wins. Server: SECTION:PATTERN, names "
        "that this section handles for another one.",
        merge=Merge.LIST,
        shown="client: the host of `connect`",
    )
    alpn: tuple[str, ...] = option(
        "alpn",
        PROTOCOLS,
        (),
        "Application protocols (ALPN), the preferred first: a client offers them, a server chooses.",
        since="Culvert",
    )
    config: tuple[str, ...] = option(
        "config",
        SOME_TEXT,
        (),
        "A command for OpenSSL's own configuration, CMD[:PARAM].",
        merge=Merge.LIST,
        since="5.25",
    )


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Sessions:
    """Resumption of earlier sessions, and keys that both sides know beforehand."""

    session_cache_size: int = option(
        "sessionCacheSize",
        number("Illegal session cache size", 0),
        1000,
        "Sessions to remember; 0 for no limit.",
        unit="sessions",
        since="4.54",
    )
    session_cache_timeout: float | None = option(
        "sessionCacheTimeout",
        seconds("Illegal session cache timeout"),
        300.0,
        "How long a session can be resumed.",
        unit="s",
        aliases=("session",),
    )
    session_resume: bool = option(
        "sessionResume", YES_NO, True, "Resume sessions at all, from the cache or by tickets.", since="5.60"
    )
    sessiond: Address | RedisPlace | None = option(
        "sessiond",
        SESSIOND,
        None,
        "Share sessions with other machines, over a server of stunnel's protocol (`culvert sessiond`) or "
        "over Redis.",
        mode="server",
        secret=True,
    )
    ticket_key_secret: bytes | None = option(
        "ticketKeySecret",
        secret_bytes("ticketKeySecret"),
        None,
        "The key that session tickets are encrypted with, the same on all servers of a cluster.",
        mode="server",
        secret=True,
        since="5.54",
    )
    ticket_mac_secret: bytes | None = option(
        "ticketMacSecret",
        secret_bytes("ticketMacSecret"),
        None,
        "The key that session tickets are authenticated with, the same on all servers of a cluster.",
        mode="server",
        secret=True,
        since="5.54",
    )
    ticket_rotation: float = option(
        "ticketRotation",
        ROTATION,
        12 * 3600.0,
        "How long a generated key seals session tickets; it opens them for sessionCacheTimeout more. 0 keeps "
        "one key for ever.",
        unit="s",
        mode="server",
        since="Culvert",
    )
    psk_identity: str | None = option(
        "PSKidentity",
        SOME_TEXT,
        None,
        "Which identity of PSKsecrets to use.",
        mode="client",
        since="5.09",
        shown="the first of PSKsecrets",
    )
    psk_secrets: str | None = option(
        "PSKsecrets",
        FILE,
        None,
        "A file of pre-shared keys, identity:key in each line.",
        since="5.09",
    )
