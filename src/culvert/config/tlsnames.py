"""Names of OpenSSL that options take: protocol versions and the switches of `options`.

Only names: which of them the OpenSSL at hand has, and their numbers, is known to culvert.openssl.
"""

from __future__ import annotations

from collections.abc import Iterable

from culvert.config.options import not_yet
from culvert.config.values import BadValue, Kind, nearest

# Oldest first: their order is what "version range" means.
VERSIONS = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

# Always on unless the file clears them with `options = -NAME`.
PRESET_OPTIONS = frozenset(("NO_SSLv2", "NO_SSLv3"))

_NAMES = """
ALL ALLOW_CLIENT_RENEGOTIATION ALLOW_NO_DHE_KEX ALLOW_UNSAFE_LEGACY_RENEGOTIATION
CIPHER_SERVER_PREFERENCE CISCO_ANYCONNECT CLEANSE_PLAINTEXT COOKIE_EXCHANGE CRYPTOPRO_TLSEXT_BUG
DISABLE_TLSEXT_CA_NAMES DONT_INSERT_EMPTY_FRAGMENTS ECH_GREASE ECH_GREASE_RETRY_CONFIG
ECH_IGNORE_CID ECH_TRIALDECRYPT ENABLE_MIDDLEBOX_COMPAT EPHEMERAL_RSA IGNORE_UNEXPECTED_EOF
LEGACY_EC_POINT_FORMATS LEGACY_SERVER_CONNECT MICROSOFT_BIG_SSLV3_BUFFER MICROSOFT_SESS_ID_BUG
MSIE_SSLV2_RSA_PADDING NETSCAPE_CA_DN_BUG NETSCAPE_CHALLENGE_BUG NETSCAPE_DEMO_CIPHER_CHANGE_BUG
NETSCAPE_REUSE_CIPHER_CHANGE_BUG NO_ANTI_REPLAY NO_COMPRESSION NO_DTLS_MASK NO_DTLSv1 NO_DTLSv1_2
NO_ENCRYPT_THEN_MAC NO_EXTENDED_MASTER_SECRET NO_QUERY_MTU NO_RENEGOTIATION
NO_RX_CERTIFICATE_COMPRESSION NO_SESSION_RESUMPTION_ON_RENEGOTIATION NO_SSL_MASK NO_SSLv2 NO_SSLv3
NO_TICKET NO_TLSv1 NO_TLSv1_1 NO_TLSv1_2 NO_TLSv1_3 NO_TX_CERTIFICATE_COMPRESSION PKCS1_CHECK_1
PKCS1_CHECK_2 PREFER_NO_DHE_KEX PRIORITIZE_CHACHA SAFARI_ECDHE_ECDSA_BUG SERVER_PREFERENCE
SINGLE_DH_USE SINGLE_ECDH_USE SSLEAY_080_CLIENT_DH_BUG SSLREF2_REUSE_CERT_TYPE_BUG TLSEXT_PADDING
TLS_BLOCK_PADDING_BUG TLS_D5_BUG TLS_ROLLBACK_BUG
"""
OPTION_NAMES: tuple[str, ...] = tuple(_NAMES.split())

# The kernel can only take over a socket that OpenSSL itself reads and writes; ours are the engine's.  Cleared
# they may be, as they always are.
KERNEL_TLS = frozenset(("ENABLE_KTLS", "ENABLE_KTLS_TX_ZEROCOPY_SENDFILE"))
KERNEL_TLS_REFUSED = not_yet("records are encrypted by OpenSSL in the process, never by the kernel")

_SPELLING = {name.lower(): name for name in (*OPTION_NAMES, *KERNEL_TLS)}


def _tls_option(text: str) -> str:
    name = _SPELLING.get(text.removeprefix("-").strip().lower())
    if name is None:
        raise BadValue("Illegal TLS option", nearest(text.removeprefix("-"), OPTION_NAMES))
    if text.startswith("-"):
        return f"-{name}"
    if name in KERNEL_TLS:
        raise BadValue(f"{name} {KERNEL_TLS_REFUSED}")
    return name


TLS_OPTION = Kind("[-]NAME, a name of `culvert -options`", _tls_option, words=OPTION_NAMES)


def _version(text: str) -> str | None:
    if text.lower() == "all":
        return None
    for name in VERSIONS:
        if text.lower() == name.lower():
            return name
    raise BadValue("Invalid protocol version", nearest(text, VERSIONS))


VERSION = Kind(
    "all | " + " | ".join(VERSIONS), _version, lambda value: value or "all", words=("all", *VERSIONS)
)


def _protocols(text: str) -> tuple[str, ...]:
    """Names with commas between, blanks around them allowed; none is asked for twice."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if not name:
            raise BadValue("a protocol without a name: write `h2, http/1.1`")
        if len(name.encode("utf-8", "surrogateescape")) > 255:
            raise BadValue("the name of a protocol has at most 255 octets")
        if not (name.isascii() and name.isprintable()):
            raise BadValue("the name of a protocol is printable ASCII")
    if len(set(names)) < len(names):
        raise BadValue("a protocol stands twice in the list")
    if sum(len(name) + 1 for name in names) > _LONGEST_PROTOCOLS:
        raise BadValue("more protocols than fit into a handshake")
    return names


_LONGEST_PROTOCOLS = 65535  # octets of the list (RFC 7301, 3.1)

PROTOCOLS = Kind("NAME[, NAME ...]", _protocols)


def options_set(names: Iterable[str]) -> frozenset[str]:
    """The names to set, presets included, out of the values of `options`."""
    return PRESET_OPTIONS | {name for name in names if not name.startswith("-")}


def options_cleared(names: Iterable[str]) -> frozenset[str]:
    """The names to clear, after those to set have been set."""
    return frozenset(name[1:] for name in names if name.startswith("-"))
