"""Application protocols, and what may stand beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from culvert.config.options import not_yet
from culvert.config.rules.case import VERIFY, Case, Complaint, Rule
from culvert.config.table.protocols import PROTOCOLS
from culvert.config.values import Address, BadValue

_NEED_HOST: Final = ("connect", "xmpp", "xmpp-server")
_DESTINATIONS: Final = ("connect", "socks", "capwin")
_NAME_MAX: Final = 255  # octets of a host name in SOCKS5 (RFC 1928, 5)
_GREETING_FIRST: Final = ("smtp", "pop3", "imap", "lmtp", "nntp", "ftp", "mysql")
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


def _host(case: Case) -> Iterator[Complaint]:
    """What goes into a request has to be one word; a SOCKS server takes a number for a port."""
    service = case.service
    if service.protocol == "capwin" and not service.client and not service.protocol_host:
        yield "protocol", "protocolHost not specified"
    if service.protocol_host is None or service.protocol not in _DESTINATIONS:
        return
    host, _colon, port = service.protocol_host.rpartition(":")
    if service.protocol == "capwin" and not _is_address(service.protocol_host):
        yield "protocol_host", "is no port, host:port or /path"
    if not service.protocol_host.isprintable() or " " in service.protocol_host:
        yield "protocol_host", "is no host and port"
    elif service.protocol == "socks" and not (port.isascii() and port.isdecimal() and int(port) <= 0xFFFF):
        yield "protocol_host", f"Invalid port: {port}"
    if len(host.encode("utf-8", "surrogateescape")) > _NAME_MAX:
        yield "protocol_host", "protocolHost too long"


def _in_the_middle(case: Case) -> Iterator[Complaint]:
    """mysql goes on inside TLS with what it began before the server name was known."""
    service = case.service
    for home in case.homes:
        if home.protocol != service.protocol and "mysql" in (home.protocol, service.protocol):
            yield (
                "protocol",
                f"mysql begins before a server name is known: [{home.name}] has to have the same",
            )
            return


def _is_address(text: str) -> bool:
    try:
        Address.parse(text)
    except BadValue:
        return False
    return True


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
    (("client", "protocol", "protocol_host"), _host),
    (("client", "protocol", "sni"), _in_the_middle),
    ((*VERIFY, "client", "redirect", "protocol", "psk_secrets"), _redirect),
)
