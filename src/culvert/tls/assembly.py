"""From a service of the configuration to its TlsPolicy: everything that can fail, once, before the fork."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from culvert.config.model import Service
from culvert.observe.log import DEBUG, NOTICE, WARNING
from culvert.openssl import Context
from culvert.openssl._lib import OPTIONS
from culvert.openssl.certificates import Parameters
from culvert.openssl.keys import use_keys
from culvert.openssl.protocols import use_protocols
from culvert.openssl.switching import Switch, watch_names
from culvert.tls.announcing import setting_lines
from culvert.tls.faults import Faults
from culvert.tls.identity import Identity, load_identities
from culvert.tls.lines import Line
from culvert.tls.names import client_name
from culvert.tls.ocsp import PeerOcsp, apply_ocsp
from culvert.tls.passphrases import REMEMBERED, Passphrases
from culvert.tls.policy import TlsPolicy
from culvert.tls.psk import OnlyByKey, Secrets, load_secrets, relies_on_key
from culvert.tls.resumption import NO_RESUMPTION, Resumption, apply_resumption, session_context
from culvert.tls.revocation import apply_revocation
from culvert.tls.settings import apply_settings
from culvert.tls.stapling import Stapled, apply_stapling
from culvert.tls.tickets import KEPT, Chains
from culvert.tls.trust import Trust, load_trust
from culvert.tls.verification import PeerRules

NO_LATE_RESUMPTION: Final = OPTIONS["NO_SESSION_RESUMPTION_ON_RENEGOTIATION"]
"""Set, as stunnel does, for services that share an address."""


class Furnished(NamedTuple):
    """A context with all but resumption, and what its sessions are bound to."""

    context: Context
    secrets: Secrets | None
    trust: Trust
    revoked: bytes
    ocsp: PeerOcsp | None

    def session_context(self, service: Service) -> bytes:
        return session_context(service, self.trust, self.revoked, self.secrets)


def build(
    service: Service,
    passphrases: Passphrases = REMEMBERED,
    chains: Chains = KEPT,
    hosted: Sequence[Service] = (),
) -> TlsPolicy:
    """Load, check and set up a service's TLS.

    Reads the files of `cert`, `key`, `CAfile`, `CRLfile` and their kind, and may ask for pass phrases on the
    terminal.  chains: the ticket keys of configurations before this one.  hosted: the services that it hands
    connections to, by their server names.  Raises ConfigErrors with everything that is wrong, each error at
    the line of its option.
    """
    faults = Faults(service)
    identities, parameters = load_own(faults, passphrases)
    furnished = furnish(faults, passphrases, identities, parameters)
    context = furnished.context
    if hosted:
        context.set_options(NO_LATE_RESUMPTION)
    stapling = apply_stapling(faults, context, identities, furnished.trust)
    peers = any(each.request_cert for each in (service, *hosted))
    name = furnished.session_context(service)
    resumption = apply_resumption(faults, context, name, chains, peers=peers)
    if hosted:
        watch_names(context)  # which also looks for sessions elsewhere, once the service is known
    shown = Shown(identities, *stapling, client_name=_name(faults))
    return policy_of(faults, furnished, shown, resumption=resumption, hosts=bool(hosted))


class Shown(NamedTuple):
    """What a service shows to its peers: certificates with their staples, a client's server name."""

    identities: Sequence[Identity]
    stapled: tuple[Stapled, ...] = ()
    told: tuple[Line, ...] = ()
    client_name: str | None = None


def policy_of(
    faults: Faults,
    furnished: Furnished,
    shown: Shown,
    *,
    resumption: Resumption = NO_RESUMPTION,
    hosts: bool = False,
    switch: Switch | None = None,
) -> TlsPolicy:
    """The policy of a service whose TLS is set up.  Raises ConfigErrors with the faults that were found."""
    service = faults.service
    return TlsPolicy(
        furnished.context,
        name=shown.client_name,
        resumption=resumption,
        verifies=service.request_cert,
        requires=service.require_cert,
        tells=service.debug >= DEBUG,
        protocols=service.alpn,
        secrets=furnished.secrets,
        hosts=hosts,
        switch=switch,
        warnings=faults.settle(),
        ocsp=furnished.ocsp,
        stapled=shown.stapled,
        told=(*setting_lines(service, furnished.context), *faults.lines, *shown.told),
        token_keys=tuple(each.key for each in shown.identities if each.key.in_token),
    )


def load_own(faults: Faults, passphrases: Passphrases) -> tuple[tuple[Identity, ...], Parameters | None]:
    """The certificates of a service with their keys, and its DH parameters."""
    service = faults.service
    if service.cert:
        return load_identities(faults, passphrases)
    if not service.client and not service.psk_secrets:
        faults.refuse("cert", "TLS server needs a certificate")
    return (), None


def furnish(
    faults: Faults,
    passphrases: Passphrases,
    identities: Sequence[Identity],
    parameters: Parameters | None,
) -> Furnished:
    """A context for a service; what is wrong is noted in ``faults``."""
    context = Context(server=not faults.service.client)
    apply_settings(faults, context)
    for identity in identities:
        _use(faults, context, identity)
    if not faults.service.client:
        _exchange(faults, context, parameters)
    secrets = _share_keys(faults, context)
    _agree(faults, context)
    trust = load_trust(faults, passphrases)
    _verify(faults, context, trust)
    revoked = apply_revocation(faults, context)
    return Furnished(context, secrets, trust, revoked, apply_ocsp(faults, context))


def _use(faults: Faults, context: Context, identity: Identity) -> None:
    with faults.about("cert", f"the certificate of {identity.leaf.subject} cannot be used"):
        context.use_identity(identity.leaf, identity.key, identity.above)


def _exchange(faults: Faults, context: Context, parameters: Parameters | None) -> None:
    if not context.exchanges_dh:
        return
    if parameters is None:
        context.use_automatic_parameters()
        return
    with faults.about("cert", f"DH parameters of {parameters.bits} bits cannot be used"):
        context.use_parameters(parameters)


def _share_keys(faults: Faults, context: Context) -> Secrets | None:
    secrets = load_secrets(faults)
    if secrets is not None:
        with faults.about("psk_secrets", "the pre-shared keys cannot be used"):
            use_keys(context, secrets.pairs)
    return secrets


def _agree(faults: Faults, context: Context) -> None:
    if faults.service.alpn:
        with faults.about("alpn", "these application protocols cannot be used"):
            use_protocols(context, [name.encode() for name in faults.service.alpn])


def _verify(faults: Faults, context: Context, trust: Trust) -> None:
    service = faults.service
    with faults.about("ca_file", "a certificate cannot be trusted"):
        context.trust(trust.certificates)
    if trust.folder:
        with faults.about("ca_path", f"cannot use {trust.folder}"):
            context.trust_folder(trust.folder)
    if relies_on_key(service):
        context.verify(OnlyByKey(), require=False)
        return
    if not service.request_cert:
        return
    rules = PeerRules.of(service)
    if rules.only_chain and _nothing_to_add(service):
        context.verify_by_chain(rules, require=service.require_cert, tell=service.debug >= WARNING)
    else:
        redirect = bool(service.redirect) and not service.client
        context.verify(rules, require=service.require_cert, redirect=redirect)
    if not service.client:
        with faults.about("ca_file", "an authority cannot be named"):
            context.name_authorities(trust.named)


def _nothing_to_add(service: Service) -> bool:
    """A server that neither tells of good peers nor does anything else with what it finds."""
    asks_somebody = service.ocsp or service.ocsp_aia
    return not (service.client or service.redirect or asks_somebody or service.debug >= NOTICE)


def _name(faults: Faults) -> str | None:
    """A client's server name, which must fit into its extension."""
    if not faults.service.client:
        return None
    try:
        name = client_name(faults.service)
    except ValueError:
        faults.refuse("sni", "the server name cannot be written in ASCII (IDNA)")
        return None
    if name is not None and not 0 < len(name.encode("utf-8", "surrogateescape")) <= 255:
        faults.refuse("sni", "a server name has 1 to 255 octets")
        return None
    return name
