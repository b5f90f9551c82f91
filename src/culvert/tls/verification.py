"""Which peers are believed, and the lines that say why (stunnel's wording).

OpenSSL finds the errors of a chain; this decides which of them matter.  ``verifyChain``: all of them.
``verifyPeer`` alone: at the leaf, all but those that say that its issuer is unknown, because its key must
be installed here anyway; above the leaf, none.  ``pin`` alone: the same, and a leaf that signed itself
passes, too.  None of them: none, the certificate was only asked for.  A leaf that has come so far must have
one of the names that are asked for, with ``verifyPeer`` the public key of a trusted certificate with its
subject, and a public key with one of the pins where there are any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from culvert.config.model import Service
from culvert.config.pins import spelt
from culvert.observe.log import DEBUG, INFO, NOTICE, WARNING
from culvert.openssl._callbacks import Finding, Report
from culvert.openssl.certificates import (
    ISSUER_UNKNOWN,
    SELF_SIGNED,
    Certificate,
)
from culvert.tls.sentences import Places, sentence


@dataclass(frozen=True, slots=True)
class PeerRules:
    """What a service asks of its peers' certificates; judges each certificate of a chain."""

    chain: bool
    installed: bool
    hosts: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    places: Places = Places()

    @classmethod
    def of(cls, service: Service) -> PeerRules:
        return cls(
            chain=service.verify_chain,
            installed=service.verify_peer,
            hosts=service.check_host,
            emails=service.check_email,
            ips=service.check_ip,
            pins=service.pin,
            places=Places.of(service),
        )

    @property
    def demanding(self) -> bool:
        """False where a certificate is only asked for."""
        return bool(self.chain or self.installed or self.pins)

    @property
    def only_chain(self) -> bool:
        """True where OpenSSL's own judgement is all that is asked for."""
        return self.chain and not (self.installed or self.pins or self.hosts or self.emails or self.ips)

    def judge(self, finding: Finding, report: Report) -> bool:
        """False refuses the peer.  Raises whatever a report raises; the caller takes that for a refusal."""
        if not finding.good:
            return self._passes_over(finding, report)
        certificate, depth = finding.certificate, finding.depth
        report(DEBUG, f"Verification started at depth={depth}: {certificate.subject}")
        if not self.demanding:
            report(INFO, "CERT: Certificate verification disabled")
        else:
            report(DEBUG, "CERT: Pre-verification succeeded")
        if depth == 0 and not self._accepts_leaf(finding, report):
            return _reject(finding, report)
        level = NOTICE if depth == 0 else INFO
        report(level, f"Certificate accepted at depth={depth}: {certificate.subject}")
        return True

    def _passes_over(self, finding: Finding, report: Report) -> bool:
        if self._matters(finding):
            local = "certificate not found in local repository: " if finding.error in SELF_SIGNED else ""
            report(WARNING, f"CERT: Pre-verification error: {local}{finding.reason}")
            if plain := sentence(finding, self.places):
                report(WARNING, f"CERT: {plain}")
            return _reject(finding, report)
        report(INFO, f"CERT: Pre-verification error ignored: {finding.reason}")
        return True

    def _matters(self, finding: Finding) -> bool:
        if self.chain:
            return True
        if finding.depth or finding.error in ISSUER_UNKNOWN:
            return False
        return self.installed or (bool(self.pins) and finding.error not in SELF_SIGNED)

    def _accepts_leaf(self, finding: Finding, report: Report) -> bool:
        if not self._has_a_name(finding.certificate, report):
            report(WARNING, "CERT: Subject checks failed")
            return False
        return self._is_installed(finding, report) and self._is_pinned(finding.certificate, report)

    def _is_installed(self, finding: Finding, report: Report) -> bool:
        if not self.installed:
            return True
        if any(finding.certificate.same_key(each) for each in finding.trusted_namesakes()):
            report(INFO, "CERT: Locally installed certificate matched")
            return True
        report(WARNING, "CERT: Certificate not found in local repository")
        return False

    def _is_pinned(self, leaf: Certificate, report: Report) -> bool:
        if not self.pins:
            return True
        pin = spelt(hashlib.sha256(leaf.public_key).digest())
        if pin in self.pins:
            report(INFO, f"CERT: Public key matched with the pin {pin}")
            return True
        report(WARNING, f"CERT: Public key matches no pin: the one of {leaf.subject} would be {pin}")
        return False

    def _has_a_name(self, leaf: Certificate, report: Report) -> bool:
        if not (self.hosts or self.emails or self.ips):
            if self.demanding:
                report(INFO, "CERT: No subject checks configured")
            return True
        for line in self._matches(leaf):
            report(INFO, line)
            return True
        return False

    def _matches(self, leaf: Certificate) -> Iterator[str]:
        for host in self.hosts:
            if (name := leaf.matching_host(host)) is not None:
                yield f'CERT: Host name "{host}" matched with "{name}"'
        for email in self.emails:
            if leaf.has_email(email):
                yield f'CERT: Email address "{email}" matched'
        for ip in self.ips:
            if leaf.has_ip(ip):
                yield f'CERT: IP address "{ip}" matched'


def _reject(finding: Finding, report: Report) -> bool:
    report(WARNING, f"Rejected by CERT at depth={finding.depth}: {finding.certificate.subject}")
    return False
