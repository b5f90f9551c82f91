"""Resumption: what binds a session to its service, what seals tickets, where sessions are kept.

A resumed handshake shows no certificate again, so a session must not be worth more than the handshake it
comes from:

- The session context (SSL_CTX_set_session_id_context(3)) is the service's name, so no other service resumes
it.
- Where peers are verified it is a digest of the name and of everything that decides about a peer, trusted
  certificates, pins and revocation lists included: a ticket sealed under configured secrets, before a reload
  or by another machine, is good only where the same rules hold.  Without configured secrets a reload makes
  new keys, and nothing old is resumed at all.
- OpenSSL is told to do a full handshake when the peer's certificate has expired meanwhile (culvert.openssl).
"""

from __future__ import annotations

import hashlib

from culvert.config.model import Service
from culvert.openssl import Context
from culvert.openssl.context import TICKET_KEY_SIZE
from culvert.tls.faults import Faults
from culvert.tls.memory import ClientMemory
from culvert.tls.store import SLOT, SLOT_WITH_PEER, UNLIMITED, SharedStore
from culvert.tls.trust import Trust

CONTEXT_SIZE = 32
"""Octets at most, SSL_MAX_SID_CTX_LENGTH."""

LONGEST = 7 * 24 * 3600
"""Seconds; no TLS 1.3 ticket may live longer (RFC 8446, 4.6.1)."""


def apply_resumption(
    faults: Faults, context: Context, trust: Trust, revoked: bytes = b""
) -> ClientMemory | None:
    """Set up one side's resumption; a client's memory is returned.

    revoked: changes with the revocation lists (culvert.tls.revocation).
    """
    service = faults.service
    with faults.about("service", "the session context cannot be set"):
        context.set_session_context(session_context(service, trust, revoked))
    _set_ticket_keys(faults, context)
    timeout = _timeout(service)
    if not service.session_resume or not timeout:
        context.refuse_resumption()
        return None
    context.set_session_timeout(timeout)
    if service.client:
        memory = ClientMemory(service.session_cache_size)
        context.remember_sessions(memory)
        return memory
    slot = SLOT_WITH_PEER if service.request_cert else SLOT
    context.share_sessions(SharedStore(service.session_cache_size or UNLIMITED, timeout, slot))
    return None


def _timeout(service: Service) -> int:
    wanted = service.session_cache_timeout
    return LONGEST if wanted is None else min(int(wanted), LONGEST)


def session_context(service: Service, trust: Trust, revoked: bytes = b"") -> bytes:
    """1 to CONTEXT_SIZE octets; equal only for services of one name and one idea of whom to believe."""
    name = service.name.encode("utf-8", "surrogateescape")
    if not service.request_cert:
        return name if 0 < len(name) < CONTEXT_SIZE else hashlib.sha256(name).digest()
    rules = (
        service.name,
        service.require_cert,
        service.verify_chain,
        service.verify_peer,
        service.check_host,
        service.check_ip,
        service.check_email,
        service.pin,
        service.security_level,
        bool(service.redirect),
        trust.folder,
        trust.digest,
        service.crl_check_chain,
        revoked,
    )
    return hashlib.sha256(repr(rules).encode("utf-8", "surrogateescape")).digest()


def _set_ticket_keys(faults: Faults, context: Context) -> None:
    service = faults.service
    if service.client or (service.ticket_key_secret is None and service.ticket_mac_secret is None):
        return
    if service.ticket_key_secret is None or service.ticket_mac_secret is None:
        set_one = "ticket_mac_secret" if service.ticket_key_secret is None else "ticket_key_secret"
        faults.refuse(set_one, '"ticketKeySecret" and "ticketMacSecret" must be set together')
        return
    with faults.about("ticket_key_secret", "the ticket keys cannot be used"):
        context.set_ticket_keys(ticket_keys(service.ticket_key_secret, service.ticket_mac_secret))


def ticket_keys(key: bytes, mac: bytes) -> bytes:
    """OpenSSL's TICKET_KEY_SIZE octets from two secrets of 16 or 32: name, HMAC-SHA256 key, AES-256 key.

    All octets of the secrets count, zero octets too.  A MAC secret of 16 is what HMAC makes of it anyway
    (RFC 2104, 2); a key secret of 16 is stretched, because OpenSSL's own tickets use AES-256 only.
    """
    name = hashlib.sha256(b"culvert ticket name" + bytes((len(key),)) + key + mac).digest()[:16]
    cipher = key if len(key) == 32 else hashlib.sha256(b"culvert ticket key" + key).digest()
    keys = name + mac.ljust(32, b"\0") + cipher
    assert len(keys) == TICKET_KEY_SIZE
    return keys
