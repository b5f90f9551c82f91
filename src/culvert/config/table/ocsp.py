"""Asking the issuers of certificates whether they were revoked."""

from __future__ import annotations

from dataclasses import dataclass

from culvert.config.options import Merge, option
from culvert.config.urls import responder_url
from culvert.config.values import YES_NO, Kind, choice, seconds, unique

FLAG = choice(
    "NOCERTS",
    "NOINTERN",
    "NOSIGS",
    "NOCHAIN",
    "NOVERIFY",
    "NOEXPLICIT",
    "NOCASIGN",
    "NODELEGATED",
    "NOCHECKS",
    "TRUSTOTHER",
    "RESPID_KEY",
    "NOTIME",
    reason="Illegal OCSP flag",
)


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Ocsp:
    """OCSP questions and their answers."""

    ocsp: str | None = option(
        "OCSP", Kind("http URL", responder_url), None, "Ask this responder about the peer's certificate."
    )
    ocsp_aia: bool = option(
        "OCSPaia",
        YES_NO,
        False,
        "Ask the responders that the certificates of the chain name.",
        since="5.10",
    )
    ocsp_flag: tuple[str, ...] = option(
        "OCSPflag", FLAG, (), "How strictly answers are checked.", merge=Merge.JOIN, join=unique
    )
    ocsp_nonce: bool = option(
        "OCSPnonce",
        YES_NO,
        False,
        "Send a nonce and demand it in the answer.",
        since="5.23",
    )
    ocsp_require: bool = option(
        "OCSPrequire",
        YES_NO,
        True,
        "Refuse the peer when no responder could say anything.",
        since="5.71",
    )
    timeout_ocsp: float | None = option(
        "TIMEOUTocsp",
        seconds("Illegal OCSP connect timeout"),
        5.0,
        "How long to wait for a responder to be reached.",
        unit="s",
        since="5.71",
    )
