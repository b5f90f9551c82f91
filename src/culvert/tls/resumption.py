"""Resumption: what binds a session to its service, what seals tickets, where sessions are kept.

A resumed handshake shows no certificate again, so a session must not be worth more than the handshake it
comes from:

- The session context (SSL_CTX_set_session_id_context(3)) is the service's name, so no other service resumes
it.
- Where peers are verified it is a digest of the name and of everything that decides about a peer, trusted
  certificates, pins and revocation lists included: a ticket sealed before a reload or by another machine is
  good only where the same rules hold.  With other certificates of our own, generated ticket keys are others,
  too.
- Where keys are shared beforehand it is a digest of these, too: who knew a key that was taken out of the file
  may come back no more.
- Where peers are redirected, a session is marked when its peer has passed, and one without the mark is
  neither stored nor resumed: the handshake is a full one, in which the peer may show a better certificate.
  The mark is data in the session itself, so no table, no second session context and no order of callbacks can
  part them; and since it says "passed", whatever loses it only costs a full handshake.
- OpenSSL is told to do a full handshake when the peer's certificate has expired meanwhile (culvert.openssl).
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from culvert.config.model import Service
from culvert.config.rules.tls import LONGEST
from culvert.config.table.sharing import RedisPlace
from culvert.config.values import Address
from culvert.openssl import Context
from culvert.openssl._lib import OPTIONS
from culvert.openssl.tickets import use_ticket_keys
from culvert.tls.faults import Faults
from culvert.tls.fleet import FleetStore, share
from culvert.tls.memory import ClientMemory
from culvert.tls.psk import Secrets
from culvert.tls.store import SLOT, SLOT_WITH_PEER, UNLIMITED, SharedStore
from culvert.tls.tickets import Chains, TicketKeys, fixed_key
from culvert.tls.trust import Trust

CONTEXT_SIZE = 32
"""Octets at most, SSL_MAX_SID_CTX_LENGTH."""


class Resumption(NamedTuple):
    """What one side has at hand for resumption.

    memory: a client's sessions; keys: a server's ticket keys, where they change with time; fleet: its
    sessions where other machines share them.
    """

    memory: ClientMemory | None = None
    keys: TicketKeys | None = None
    fleet: FleetStore | None = None


NO_RESUMPTION: Final = Resumption()


def apply_resumption(
    faults: Faults, context: Context, name: bytes, chains: Chains, *, peers: bool
) -> Resumption:
    """Set up one side's resumption.

    name: the session context; chains: where ticket keys come from that no option gives; peers: whether there
    may be certificates of peers in the sessions.
    """
    service = faults.service
    if not (service.client and service.psk_secrets):  # OpenSSL makes a client's key a session without context
        with faults.about("service", "the session context cannot be set"):
            context.set_session_context(name)
    if not resumes(service):
        context.refuse_resumption()
        return NO_RESUMPTION
    timeout = lifetime(service)
    context.set_session_timeout(timeout)
    if service.client:
        memory = ClientMemory(service.session_cache_size)
        context.remember_sessions(memory)
        return Resumption(memory=memory)
    fleet = _share(service, context, timeout, peers)
    return Resumption(keys=_ticket_keys(faults, context, name, chains), fleet=fleet)


def resumes(service: Service) -> bool:
    """Whether sessions of a service may be resumed at all."""
    return service.session_resume and lifetime(service) > 0


def _share(service: Service, context: Context, timeout: int, peers: bool) -> FleetStore | None:
    """Let every worker, and where asked every machine, resume a server's sessions."""
    slot = SLOT_WITH_PEER if peers else SLOT
    near = SharedStore(service.session_cache_size or UNLIMITED, timeout, slot)
    if service.sessiond is None:
        context.share_sessions(near)
        return None
    if isinstance(service.sessiond, Address):
        context.set_options(OPTIONS["NO_TICKET"])  # as in stunnel: that server knows ids only
    return share(context, near, timeout)


def lifetime(service: Service) -> int:
    """Seconds for which a session may be resumed."""
    wanted = service.session_cache_timeout
    return LONGEST if wanted is None else min(int(wanted), LONGEST)


def session_context(
    service: Service, trust: Trust, revoked: bytes = b"", secrets: Secrets | None = None
) -> bytes:
    """1 to CONTEXT_SIZE octets; equal only for services of one name and one idea of whom to believe."""
    name = service.name.encode("utf-8", "surrogateescape")
    if not service.request_cert and secrets is None:
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
        service.ocsp,
        service.ocsp_aia,
        service.ocsp_flag,
        service.ocsp_nonce,
        service.ocsp_require,
        trust.folder,
        trust.digest,
        service.crl_check_chain,
        revoked,
        secrets.digest if secrets else b"",
    )
    return hashlib.sha256(repr(rules).encode("utf-8", "surrogateescape")).digest()


def _shown(context: Context) -> bytes:
    """What our certificates are; the machines of a fleet may each have their own."""
    return b"".join(hashlib.sha256(leaf.der).digest() for leaf in context.leaves)


def _ticket_keys(faults: Faults, context: Context, name: bytes, chains: Chains) -> TicketKeys | None:
    """Seal tickets with the secrets of the configuration, else with keys that change by themselves."""
    service = faults.service
    key, mac = service.ticket_key_secret, service.ticket_mac_secret
    with faults.about("ticket_key_secret", "the ticket keys cannot be used"):
        if key is None and mac is None:
            shared = isinstance(service.sessiond, RedisPlace)
            known = name if shared else name + _shown(context)
            chain = chains.chain(known, service.ticket_rotation, lifetime(service), shared=shared)
            return TicketKeys(context, chain, name)
        if key is None or mac is None:
            set_one = "ticket_mac_secret" if key is None else "ticket_key_secret"
            faults.refuse(set_one, '"ticketKeySecret" and "ticketMacSecret" must be set together')
        else:
            use_ticket_keys(context, [fixed_key(key, mac)], nameless=True)
    return None
