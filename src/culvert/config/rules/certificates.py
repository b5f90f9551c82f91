"""Own certificates, trusted ones, and revocation."""

from __future__ import annotations

from collections.abc import Iterator

from culvert.config.rules.case import VERIFY, Case, Complaint, Rule
from culvert.config.secrecy import exposed


def _certificate(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not (service.client or service.cert or service.psk_secrets or case.options.engine):
        yield "", "TLS server needs a certificate"


# Engines that become others: all that work, and one that is loaded by commands.
_OF_ANY_NAME = ("auto", "dynamic")


def _engine_of_key(case: Case) -> Iterator[Complaint]:
    service, engines = case.service, case.options.engine
    if service.ca_engine and service.engine_num is None and service.engine_id is None:
        yield "ca_engine", 'Either "engineId" or "engineNum" has to say which engine it is read through'
    if any(each.lower() in _OF_ANY_NAME for each in engines):
        return  # which there are is known when they have been loaded
    if service.engine_num is not None and service.engine_num > len(engines):
        yield "engine_num", "Illegal engine number"
    if service.engine_id is not None and service.engine_id not in engines:
        yield "engine_id", "Engine ID not found"


def _subject_checks(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not (service.verify_chain or service.verify_peer or service.pin):
        for attribute in ("check_email", "check_host", "check_ip"):
            if getattr(service, attribute):
                yield attribute, 'Either "verifyChain" or "verifyPeer" has to be enabled'


def _crl_chain(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not service.crl_check_chain:
        return
    if not service.verify_chain:
        yield "crl_check_chain", '"verifyChain" has to be enabled for "CRLcheckChain"'
    if not (service.crl_file or service.crl_path):
        yield "crl_check_chain", 'Either "CRLfile" or "CRLpath" has to be configured for "CRLcheckChain"'


def _ocsp(case: Case) -> Iterator[Complaint]:
    for attribute in ("ocsp", "ocsp_aia"):
        if getattr(case.service, attribute) and not case.service.verify_chain:
            yield attribute, '"verifyChain" has to be enabled for OCSP support'


def _trust(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not (service.verify_chain or service.verify_peer):
        return
    if not (service.ca_file or service.ca_path or service.ca_engine or service.ca_store):
        wanted = next(
            (each for each in ("verify_peer", "verify_chain", "verify") if each in service.positions), ""
        )
        yield wanted, 'Either "CAengine", "CAfile", "CApath" or "CAstore" has to be configured'


def _secrecy(case: Case) -> Iterator[Complaint]:
    if case.service.strict:
        for each in exposed(case.service):
            yield each.attribute, f"{each.reason}; with `strict = yes` only its owner may have any"


RULES: tuple[Rule, ...] = (
    (("client", "cert", "psk_secrets"), _certificate),
    (("engine_num", "engine_id", "ca_engine"), _engine_of_key),
    ((*VERIFY, "check_host", "check_ip", "check_email"), _subject_checks),
    ((*VERIFY, "crl_file", "crl_path"), _crl_chain),
    ((*VERIFY, "ocsp"), _ocsp),
    ((*VERIFY, "ca_file", "ca_path", "ca_engine", "ca_store"), _trust),
    (("cert", "key", "psk_secrets", "sessiond", "ticket_key_secret", "strict"), _secrecy),
)
