"""Why a certificate was refused, in plain words: whose it is, what is wrong with it, and where we looked.

OpenSSL's own words ("unable to get local issuer certificate") are kept in stunnel's line; this one stands
behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from culvert.config.model import Service
from culvert.openssl._callbacks import Finding
from culvert.openssl._lib import lib
from culvert.openssl.certificates import ISSUER_UNKNOWN, SELF_SIGNED
from culvert.tls.sources import shown


@dataclass(frozen=True, slots=True)
class Places:
    """Where a service looks for certificates and lists, as the file names it."""

    trusted: str = "what is trusted"
    lists: str = "the revocation lists"
    used_by: str = "the peer"

    @classmethod
    def of(cls, service: Service) -> Places:
        trusted = (("CAfile", service.ca_file), ("CApath", service.ca_path), ("CAstore", service.ca_store))
        lists = (("CRLfile", service.crl_file), ("CRLpath", service.crl_path))
        return cls(
            shown(_listed(trusted)) or "what is trusted, for there is no CAfile",
            _listed(lists) or "the revocation lists",
            "a TLS server" if service.client else "a TLS client",
        )


def _listed(places: tuple[tuple[str, str | None], ...]) -> str:
    return " or ".join(f"{name} {place}" for name, place in places if place)


def sentence(finding: Finding, places: Places) -> str:
    """What is wrong with the certificate of a finding; empty where OpenSSL's words are all that is known."""
    tell = _SENTENCES.get(finding.error)
    return "" if tell is None else tell(finding, places)


def _whose(finding: Finding) -> str:
    return f"the certificate of {finding.certificate.subject}"


def _issuer_missing(finding: Finding, places: Places) -> str:
    return f"{_whose(finding)} was issued by {finding.certificate.issuer}, which is not in {places.trusted}"


def _signed_itself(finding: Finding, places: Places) -> str:
    if finding.depth:
        return f"the chain ends in {finding.certificate.subject}, which is not in {places.trusted}"
    return f"{_whose(finding)} signed itself and is not in {places.trusted}"


def _no_list(finding: Finding, places: Places) -> str:
    return f"no revocation list of {finding.certificate.issuer} is in {places.lists}"


def _list_that(what: str) -> Callable[[Finding, Places], str]:
    return lambda finding, _places: f"the revocation list of {finding.certificate.issuer} {what}"


def _certificate_that(what: str) -> Callable[[Finding, Places], str]:
    return lambda finding, _places: f"{_whose(finding)} {what}"


_SENTENCES: Final[dict[int, Callable[[Finding, Places], str]]] = {
    **dict.fromkeys(ISSUER_UNKNOWN, _issuer_missing),
    **dict.fromkeys(SELF_SIGNED, _signed_itself),
    lib.X509_V_ERR_CERT_REVOKED: (
        lambda finding, _places: f"{_whose(finding)} was revoked by {finding.certificate.issuer}"
    ),
    lib.X509_V_ERR_CERT_HAS_EXPIRED: (
        lambda finding, _places: f"{_whose(finding)} has expired ({finding.certificate.ends})"
    ),
    lib.X509_V_ERR_CERT_NOT_YET_VALID: (
        lambda finding, _places: f"{_whose(finding)} is not valid yet ({finding.certificate.begins})"
    ),
    lib.X509_V_ERR_INVALID_PURPOSE: (
        lambda finding, places: f"{_whose(finding)} is not made for {places.used_by}"
    ),
    lib.X509_V_ERR_UNABLE_TO_GET_CRL: _no_list,
    lib.X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER: _list_that("is signed by nobody who is known here"),
    lib.X509_V_ERR_CRL_HAS_EXPIRED: _list_that("has expired"),
    lib.X509_V_ERR_CRL_NOT_YET_VALID: _list_that("is not valid yet"),
    lib.X509_V_ERR_CRL_SIGNATURE_FAILURE: _list_that("has a bad signature"),
    lib.X509_V_ERR_KEYUSAGE_NO_CRL_SIGN: _list_that("is signed with a key that may not sign lists"),
    lib.X509_V_ERR_CERT_SIGNATURE_FAILURE: _certificate_that("has a bad signature"),
    lib.X509_V_ERR_INVALID_CA: _certificate_that("is not that of an authority, and has signed another one"),
    lib.X509_V_ERR_KEYUSAGE_NO_CERTSIGN: _certificate_that("may not sign others, and has"),
    lib.X509_V_ERR_PATH_LENGTH_EXCEEDED: _certificate_that("may not have so many others below it"),
    lib.X509_V_ERR_EE_KEY_TOO_SMALL: _certificate_that("has a key that is too small for securityLevel"),
    lib.X509_V_ERR_CA_KEY_TOO_SMALL: _certificate_that("has a key that is too small for securityLevel"),
    lib.X509_V_ERR_CA_MD_TOO_WEAK: _certificate_that("is signed with a digest too weak for securityLevel"),
}
