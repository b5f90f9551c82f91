"""What is worth a word about OCSP options: those without effect, and those that give the protection away."""

from __future__ import annotations

from collections.abc import Iterator

from culvert.config.model import Service

FOR_SIGNERS = ("NOCERTS", "RESPID_KEY", "NOTIME")
"""Flags for whoever signs questions or answers; we do neither, and nor does stunnel."""

_GIVEN_AWAY = {
    "NOSIGS": "answers are believed whoever wrote them",
    "NOVERIFY": "answers are believed whoever signed them",
    "NOCHECKS": "answers are believed from every owner of a certificate that CAfile or CApath covers",
}


def ocsp_advice(service: Service) -> Iterator[tuple[str, str]]:
    """(attribute, reason) for each thing."""
    for flag in service.ocsp_flag:
        if flag in FOR_SIGNERS:
            yield "ocsp_flag", f"{flag} has no effect: it is for whoever signs answers"
        if flag in _GIVEN_AWAY:
            yield "ocsp_flag", f"Service [{service.name}] is not protected by OCSP: {_GIVEN_AWAY[flag]}"
    if service.ocsp_flag and service.client and not service.verify_chain:
        yield "ocsp_flag", 'OCSPflag has no effect without "verifyChain"'
    if not service.ocsp_require and not service.verify_chain:
        yield "ocsp_require", 'OCSPrequire has no effect without "verifyChain"'
    if service.ocsp_nonce and not (service.ocsp or service.ocsp_aia):
        yield "ocsp_nonce", 'OCSPnonce has no effect without "OCSP" or "OCSPaia"'
