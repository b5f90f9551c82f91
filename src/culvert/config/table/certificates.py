"""Own certificates, trusted certificates, and which peers are believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from culvert.config.options import Merge, option
from culvert.config.pins import PIN
from culvert.config.values import (
    DIRECTORY_OR_NONE,
    FILE,
    FILE_OR_NONE,
    IP,
    SOME_TEXT,
    YES_NO,
    Kind,
    number,
)


def level_flags(level: int) -> Mapping[str, bool]:
    """What a level of `verify` switches on and off."""
    return {
        "request_cert": True,
        "require_cert": level >= 2,
        "verify_chain": level in (1, 2, 3),
        "verify_peer": level in (3, 4),
    }


URI_OR_NONE = Kind("URI; empty: none", lambda text: text or None)


def _demanded(yes: bool) -> Mapping[str, bool]:
    return {"request_cert": True, "require_cert": True} if yes else {}


def _pinned(_pin: str) -> Mapping[str, bool]:
    return {"request_cert": True, "require_cert": True}


def _required(yes: bool) -> Mapping[str, bool]:
    return {"request_cert": True} if yes else {}


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Certificates:
    """The own certificate and key."""

    cert: tuple[str, ...] = option(
        "cert",
        FILE,
        (),
        "The own certificate and its chain: a file (PEM or PKCS#12), a URI, or the id of an engine's "
        "certificate; the private key may stand in the same place.",
        merge=Merge.LIST,
    )
    key: str | None = option(
        "key",
        FILE,
        None,
        "The private key: a file (PEM or PKCS#12), a URI, or the id of an engine's key; pass phrases and "
        "PINs are asked for on the terminal.",
        shown="the place of `cert`",
    )
    strict: bool = option(
        "strict",
        YES_NO,
        False,
        "Refuse files of private or pre-shared keys that anybody but their owner can read or change.",
        since="Culvert",
    )
    engine_id: str | None = option(
        "engineId",
        SOME_TEXT,
        None,
        "Read key and certificate through the engine with this id.",
        since="5.00",
        also=lambda _value: {"engine_num": None},
    )
    engine_num: int | None = option(
        "engineNum",
        number("Illegal engine number", 1),
        None,
        "Read key and certificate through this engine, counted from 1 in the order of `engine` lines.",
        also=lambda _value: {"engine_id": None},
    )


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Trust:
    """Certificates that are believed."""

    ca_file: str | None = option("CAfile", FILE_OR_NONE, None, "Trusted certificates (PEM).")
    ca_path: str | None = option(
        "CApath", DIRECTORY_OR_NONE, None, "A directory of trusted certificates, named by their hashes."
    )
    ca_engine: tuple[str, ...] = option(
        "CAengine",
        SOME_TEXT,
        (),
        "A trusted certificate, read through the engine of `engineId` or `engineNum`.",
        merge=Merge.JOIN,
        since="5.68",
    )
    ca_store: str | None = option(
        "CAstore",
        URI_OR_NONE,
        None,
        "Trusted certificates, by a URI that OpenSSL can open.",
        since="5.75",
    )
    crl_file: str | None = option(
        "CRLfile",
        FILE_OR_NONE,
        None,
        "Revocation lists (PEM).",
    )
    crl_path: str | None = option(
        "CRLpath",
        DIRECTORY_OR_NONE,
        None,
        "A directory of revocation lists, named by their hashes.",
    )
    crl_check_chain: bool = option(
        "CRLcheckChain",
        YES_NO,
        False,
        "Check every certificate of the chain for revocation, not only the last.",
        since="5.80",
    )


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Verification:
    """Which certificates of a peer pass.

    The four switches are evaluated in the order of their lines, and the last line wins.  A program that gives
    none of request_cert and require_cert gets what verify, verify_chain, verify_peer and pin imply.
    """

    verify: int | None = option(
        "verify",
        number("Bad verify level", 0, 4),
        None,
        "Check the peer's certificate: 0 ask for it, 1 check the chain if there is one, 2 demand it and "
        "check the chain, 3 like 2 and it must be installed here, 4 it must be installed here.",
        obsolete='"verify" is obsolete: "verifyChain", "verifyPeer" and "requireCert" say what is meant',
        also=level_flags,
    )
    verify_chain: bool = option(
        "verifyChain",
        YES_NO,
        False,
        "Demand a certificate that leads to a trusted one.",
        since="5.34",
        also=_demanded,
    )
    verify_peer: bool = option(
        "verifyPeer",
        YES_NO,
        False,
        "Demand a certificate with the name and key of one in CAfile or CApath.",
        since="5.34",
        also=_demanded,
    )
    pin: tuple[str, ...] = option(
        "pin",
        PIN,
        (),
        "Demand a certificate with one of these public keys; with verifyChain or verifyPeer both must hold.",
        merge=Merge.LIST,
        since="Culvert",
        also=_pinned,
    )
    require_cert: bool = option(
        "requireCert",
        YES_NO,
        None,
        "Refuse clients without a certificate.",
        since="5.34",
        also=_required,
        shown="no",
    )
    request_cert: bool = None  # type: ignore[assignment]  # decided by the four above, see model.Service
    check_host: tuple[str, ...] = option(
        "checkHost",
        SOME_TEXT,
        (),
        "The peer's certificate must be for this host.",
        merge=Merge.LIST,
        since="5.15",
    )
    check_ip: tuple[str, ...] = option(
        "checkIP",
        IP,
        (),
        "The peer's certificate must be for this IP address.",
        merge=Merge.LIST,
        since="5.15",
    )
    check_email: tuple[str, ...] = option(
        "checkEmail",
        SOME_TEXT,
        (),
        "The peer's certificate must be for this mail address.",
        merge=Merge.LIST,
        since="5.15",
    )
