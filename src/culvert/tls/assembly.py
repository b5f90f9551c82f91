"""From a service of the configuration to its TlsPolicy: everything that can fail, once, before the fork."""

from __future__ import annotations

from culvert.config.model import Service
from culvert.observe.log import DEBUG, NOTICE, WARNING
from culvert.openssl import Context
from culvert.openssl.certificates import Parameters
from culvert.openssl.keys import use_keys
from culvert.openssl.protocols import use_protocols
from culvert.tls.announcing import setting_lines
from culvert.tls.faults import Faults
from culvert.tls.identity import Identity, load_identities
from culvert.tls.names import client_name
from culvert.tls.ocsp import apply_ocsp
from culvert.tls.passphrases import REMEMBERED, Passphrases
from culvert.tls.policy import TlsPolicy
from culvert.tls.psk import OnlyByKey, Secrets, load_secrets, relies_on_key
from culvert.tls.resumption import apply_resumption, session_context
from culvert.tls.revocation import apply_revocation
from culvert.tls.settings import apply_settings
from culvert.tls.stapling import apply_stapling
from culvert.tls.tickets import KEPT, Chains
from culvert.tls.trust import Trust, load_trust
from culvert.tls.verification import PeerRules


def build(service: Service, passphrases: Passphrases = REMEMBERED, chains: Chains = KEPT) -> TlsPolicy:
    """Load, check and set up a service's TLS.

    Reads the files of `cert`, `key`, `CAfile`, `CRLfile` and their kind, and may ask for pass phrases on the
    terminal.  chains: the ticket keys of configurations before this one.  Raises ConfigErrors with everything
    that is wrong, each error at the line of its option.
    """
    faults = Faults(service)
    context = Context(server=not service.client)
    apply_settings(faults, context)
    identities = _present(faults, context, passphrases)
    secrets = _share_keys(faults, context)
    _agree(faults, context)
    trust = load_trust(faults, passphrases)
    _verify(faults, context, trust)
    revoked = apply_revocation(faults, context)
    name = session_context(service, trust, revoked, secrets)
    ocsp = apply_ocsp(faults, context)
    stapled, told = apply_stapling(faults, context, identities, trust)
    resumption = apply_resumption(faults, context, name, chains)
    return TlsPolicy(
        context,
        name=_name(faults),
        resumption=resumption,
        verifies=service.request_cert,
        requires=service.require_cert,
        tells=service.debug >= DEBUG,
        protocols=service.alpn,
        secrets=secrets,
        warnings=faults.settle(),
        ocsp=ocsp,
        stapled=stapled,
        told=(*setting_lines(service, context), *faults.lines, *told),
        token_keys=tuple(each.key for each in identities if each.key.in_token),
    )


def _present(faults: Faults, context: Context, passphrases: Passphrases) -> tuple[Identity, ...]:
    service = faults.service
    if not service.cert:
        if not service.client and not service.psk_secrets:
            faults.refuse("cert", "TLS server needs a certificate")
        elif not service.client:
            _exchange(faults, context, None)
        return ()
    identities, parameters = load_identities(faults, passphrases)
    for identity in identities:
        _use(faults, context, identity)
    if not service.client:
        _exchange(faults, context, parameters)
    return identities


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
    name = client_name(faults.service)
    if name is not None and not 0 < len(name.encode("utf-8", "surrogateescape")) <= 255:
        faults.refuse("sni", "a server name has 1 to 255 octets")
        return None
    return name
