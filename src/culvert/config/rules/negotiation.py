"""Application protocols, and what may stand beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from culvert.config.options import not_yet
from culvert.config.rules.case import VERIFY, Case, Complaint, Rule
from culvert.config.table.protocols import PROTOCOLS

_NEED_HOST: Final = ("connect", "xmpp", "xmpp-server")
_GREETING_FIRST: Final = ("smtp", "pop3", "imap", "lmtp", "nntp", "ftp")
"""Protocols that dial before the handshake: the far end's greeting is the first that is said."""


def _protocol(case: Case) -> Iterator[Complaint]:
    service = case.service
    if service.protocol is None:
        return
    protocol = PROTOCOLS.get(service.protocol)
    if service.transport == "udp" or protocol is None:
        yield "protocol", "Protocol not supported"
    if protocol is None:  # a program made this service
        return
    mode = "client" if service.client else "server"
    side = protocol.side(client=service.client)
    if side is None:
        yield "protocol", f"The configured protocol is not supported in the {mode} mode"
    if service.client and service.protocol in _NEED_HOST and not service.protocol_host:
        yield "protocol", "protocolHost not specified"
    if side is not None and not side.made:
        yield "protocol", not_yet(f"{service.protocol} is not spoken in the {mode} mode")


def _authentication(case: Case) -> Iterator[Complaint]:
    service = case.service
    if service.protocol_authentication == "ntlm" and (service.protocol == "smtp" or not service.protocol):
        yield "protocol_authentication", "ntlm is for protocol = connect alone"


def _redirect(case: Case) -> Iterator[Complaint]:
    service = case.service
    if not service.redirect:
        return
    if service.client:
        yield "redirect", '"redirect" is unsupported in client sections'
    elif service.protocol in _GREETING_FIRST:
        yield "redirect", '"redirect" is incompatible with the specified protocol negotiation'
    if service.psk_secrets:
        yield "redirect", "whoever has a key of PSKsecrets shows no certificate, and would be redirected, too"
    if not (service.verify_chain or service.verify_peer or service.pin):
        yield "redirect", 'Either "verifyChain" or "verifyPeer" has to be enabled for "redirect" to work'


RULES: tuple[Rule, ...] = (
    (("client", "protocol", "protocol_host", "transport"), _protocol),
    (("protocol", "protocol_authentication"), _authentication),
    ((*VERIFY, "client", "redirect", "protocol", "psk_secrets"), _redirect),
)
