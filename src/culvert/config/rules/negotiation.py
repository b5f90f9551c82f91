"""Application protocols, and what may stand beside them."""

from __future__ import annotations

from collections.abc import Iterator

from culvert.config.rules.case import VERIFY, Case, Complaint, Rule
from culvert.config.table.endpoints import CLIENT_PROTOCOLS, SERVER_PROTOCOLS


def _protocol(case: Case) -> Iterator[Complaint]:
    service = case.service
    if service.protocol is None:
        return
    if service.transport == "udp":
        yield "protocol", "Protocol not supported"
    if service.client and service.protocol not in CLIENT_PROTOCOLS:
        yield "protocol", "The configured protocol is not supported in the client mode"
    if not service.client and service.protocol not in SERVER_PROTOCOLS:
        yield "protocol", "The configured protocol is not supported in the server mode"
    if service.client and service.protocol == "connect" and not service.protocol_host:
        yield "protocol", "protocolHost not specified"


def _redirect(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not service.redirect:
        return
    if service.client:
        yield "redirect", '"redirect" is unsupported in client sections'
    elif service.protocol in ("smtp", "pop3", "imap"):
        yield "redirect", '"redirect" is incompatible with the specified protocol negotiation'
    if not (service.verify_chain or service.verify_peer or service.pin):
        yield "redirect", 'Either "verifyChain" or "verifyPeer" has to be enabled for "redirect" to work'


RULES: tuple[Rule, ...] = (
    (("client", "protocol", "protocol_host", "transport"), _protocol),
    ((*VERIFY, "client", "redirect", "protocol"), _redirect),
)
