"""What a negotiation may learn of its tunnel, and what it may leave behind."""

from __future__ import annotations

import functools
import socket
from typing import TYPE_CHECKING, Any

from culvert.config.model import Service
from culvert.config.values import Address
from culvert.errors import SystemRefusal
from culvert.negotiate.steps import Fact, Host
from culvert.net import addresses, transparent
from culvert.net.addresses import Endpoint
from culvert.observe.log import ERR
from culvert.tunnel import credentials, directory
from culvert.tunnel.gate import accepted_socket

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from culvert.negotiate.proxy_header import Certificate, Secured
    from culvert.net.destinations import Destinations
    from culvert.openssl.session import Session
    from culvert.tunnel.life import Tunnel

    Networks = tuple[IPv4Network | IPv6Network, ...]


def learn(tunnel: Tunnel, fact: Fact) -> Any:
    """The answer to Learn; a memory is the driver's."""
    match fact:
        case Fact.PEER_ADDRESS:
            return host_of(addresses.unpack(tunnel.client))
        case Fact.OWN_ADDRESS:
            return tunnel.told.destination if tunnel.told else _own(tunnel)
        case Fact.ORIGINAL:
            return _original(tunnel)
        case Fact.SECURED:
            secure = tunnel.session is not None and not tunnel.plan.service.client
            return _secured(tunnel.session, tunnel) if secure and tunnel.session else None
        case Fact.CREDENTIALS:
            return credentials.stored()
    raise LookupError(fact)


def judge(tunnel: Tunnel, host: Host) -> str | None:
    """The answer to Judge: whether a client may be led there."""
    service = tunnel.plan.service
    return _rules(service.socks_allow, service.socks_deny).refusal(numeric(host))


async def ask(tunnel: Tunnel, address: str, octets: bytes) -> bytes:
    """The answer to Ask; empty where the directory cannot be asked, which agrees with nobody."""
    question = directory.ask(address, octets, tunnel.plan.service.timeout_connect)
    try:
        return await tunnel.carrier.outside(question)
    except (OSError, SystemRefusal) as error:
        tunnel.say(ERR, f"LDAP: {error or type(error).__name__}")
        return b""


@functools.cache
def _rules(allow: Networks, deny: Networks) -> Destinations:
    from culvert.net.destinations import Destinations  # only services that let clients choose pay for it

    return Destinations(allow, deny)


def numeric(host: Host) -> Endpoint:
    """The address that a numeric host is; nobody is asked for it."""
    found = addresses.resolve(Address(host=host[0], port=str(host[1]), path=None), passive=False)
    return found[0]


def host_of(text: str) -> Host | None:
    """The text of an address as host and port; None for a Unix socket."""
    host, _, port = text.rpartition(":")
    return (host, int(port)) if port.isdecimal() else None


def _own(tunnel: Tunnel) -> Host | None:
    with accepted_socket(tunnel.carrier) as sock:
        return host_of(addresses.of_socket(sock).text)


def _original(tunnel: Tunnel) -> Host | None:
    """Where a connection was bound for that the kernel has led here (REDIRECT, DNAT, TPROXY)."""
    with accepted_socket(tunnel.carrier) as sock:
        port = sock.getsockname()[1] if sock.family != socket.AF_UNIX else 0
        try:
            return host_of(transparent.original_destination(sock, (port,)).text)
        except SystemRefusal as refusal:
            tunnel.say(ERR, str(refusal))
            return None


def _secured(session: Session, tunnel: Tunnel) -> Secured:
    from culvert.negotiate.proxy_header import Secured
    from culvert.openssl.protocols import agreed_protocol

    return Secured(
        session.version.encode(),
        session.cipher.encode(),
        agreed_protocol(session) or b"",
        (session.server_name or "").encode(),
        _certificate(session, tunnel),
    )


def _certificate(session: Session, tunnel: Tunnel) -> Certificate | None:
    """Its code is 0 where the service demands what it has checked, or OpenSSL has verified it unasked."""
    from culvert.negotiate.proxy_header import Certificate
    from culvert.openssl.subject import common_name, signature_name

    found = session.peer_certificate
    if found is None:
        return None
    return Certificate(
        0 if _demands(tunnel.plan.service) else session.verify_result,
        common_name(found),
        signature_name(found).encode(),
        f"{found.key_kind}{found.key_bits}".encode(),
        found.der,
        not session.resumed,
    )


def _demands(service: Service) -> bool:
    """Whether a peer that has come this far has passed checks of its certificate."""
    return bool(service.verify_chain or service.verify_peer or service.pin)
