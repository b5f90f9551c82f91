"""Which peers are believed, and the lines that say why (stunnel's wording).

OpenSSL finds the errors of a chain; this decides which of them matter.  ``verifyChain``: all of them.
``verifyPeer`` alone: at the leaf, all but those that say that its issuer is unknown, because its key must
be installed here anyway; above the leaf, none.  Neither: none, the certificate was only asked for.  A leaf
that has come so far must have one of the names that are asked for, and with ``verifyPeer`` the public key
of a trusted certificate with its subject.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from culvert.config.model import Service
from culvert.observe.log import DEBUG, INFO, NOTICE, WARNING
from culvert.openssl._callbacks import Finding, Report
from culvert.openssl.certificates import (
    ISSUER_UNKNOWN,
    SELF_SIGNED,
    Certificate,
)


@dataclass(frozen=True, slots=True)
class PeerRules:
    """What a service asks of its peers' certificates; judges each certificate of a chain."""

    chain: bool
    installed: bool
    hosts: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()

    @classmethod
    def of(cls, service: Service) -> PeerRules:
        return cls(
            chain=service.verify_chain,
            installed=service.verify_peer,
            hosts=service.check_host,
            emails=service.check_email,
            ips=service.check_ip,
        )

    def judge(self, finding: Finding, report: Report) -> bool:
        """False refuses the peer.  Raises whatever a report raises; the caller takes that for a refusal."""
        if not finding.good:
            return self._passes_over(finding, report)
        certificate, depth = finding.certificate, finding.depth
        report(DEBUG, f"Verification started at depth={depth}: {certificate.subject}")
        if not (self.chain or self.installed):
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
            return _reject(finding, report)
        report(INFO, f"CERT: Pre-verification error ignored: {finding.reason}")
        return True

    def _matters(self, finding: Finding) -> bool:
        if self.chain:
            return True
        return self.installed and finding.depth == 0 and finding.error not in ISSUER_UNKNOWN

    def _accepts_leaf(self, finding: Finding, report: Report) -> bool:
        if not self._has_a_name(finding.certificate, report):
            report(WARNING, "CERT: Subject checks failed")
            return False
        if not self.installed:
            return True
        if any(finding.certificate.same_key(each) for each in finding.trusted_namesakes()):
            report(INFO, "CERT: Locally installed certificate matched")
            return True
        report(WARNING, "CERT: Certificate not found in local repository")
        return False

    def _has_a_name(self, leaf: Certificate, report: Report) -> bool:
        if not (self.hosts or self.emails or self.ips):
            if self.chain or self.installed:
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
