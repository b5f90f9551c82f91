"""Our own certificates: which key belongs to which leaf, and which certificates stand above it.

Files may hold their blocks in any order (culvert.tls.sources).  A key makes a leaf of the first certificate
that has its public half; what stands above is found by following issuers, so the peer gets a chain in the
order that RFC 5246, 7.4.2 wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from culvert.observe.log import DEBUG, INFO
from culvert.openssl import Certificate, PrivateKey
from culvert.openssl.certificates import Parameters
from culvert.tls.faults import Faults
from culvert.tls.library import in_force
from culvert.tls.passphrases import Passphrases
from culvert.tls.pem import Block
from culvert.tls.sources import Source, open_source, shown

if TYPE_CHECKING:
    from culvert.openssl.hardware import TokenEngine

SOON = timedelta(days=14)
"""A certificate that ends before is worth a warning."""

WEAK_BELOW = 112
"""Bits of strength; RSA-2048 has just these (NIST SP 800-57, part 1, table 2)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A leaf, its key, and the certificates above it, nearest first."""

    leaf: Certificate
    key: PrivateKey
    above: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """What `cert` and `key` of one service hold."""

    certificates: list[Certificate]
    keys: list[tuple[PrivateKey, str, str]]
    """The key, the option and the place that it came from."""
    parameters: list[tuple[Block, str]]


def load_identities(
    faults: Faults, passphrases: Passphrases
) -> tuple[tuple[Identity, ...], Parameters | None]:
    """The identities of a service, one for each kind of key, and the DH parameters of its certificate
    files.
    """
    service = faults.service
    engine = engine_of(faults)
    sources = _open(faults, "cert", service.cert, passphrases, engine)
    found = _Found([], [], [])
    for source in sources:
        certificates = list(source.certificates(faults))
        if certificates:
            faults.tell(INFO, f"Certificate loaded from: {source.name}")
        found.certificates.extend(certificates)
        found.parameters.extend((block, source.name) for block in source.parameters())
    key_sources = _open(faults, "key", (service.key,), passphrases, engine) if service.key else sources
    attribute = "key" if service.key else "cert"
    for source in key_sources:
        keys = [(key, attribute, source.name) for key in source.keys(faults, attribute)]
        if keys:
            faults.tell(INFO, f"Private key loaded from: {source.name}")
        found.keys.extend(keys)
    if sources and key_sources and not faults.errors:
        _check_keys_present(faults, found, attribute)
    identities = tuple(_identities(faults, found))
    return identities, _parameters(faults, found)


def engine_of(faults: Faults) -> TokenEngine | None:
    """The engine of `engineId` or `engineNum`; None, and perhaps an error, when there is none."""
    service = faults.service
    if service.engine_num is None and service.engine_id is None:
        return None
    engines = in_force().engines
    if service.engine_num is not None:
        if service.engine_num <= len(engines):
            return engines[service.engine_num - 1]
        faults.refuse("engine_num", "Illegal engine number")
        return None
    for engine in engines:
        if engine.id == service.engine_id:
            return engine
    faults.refuse("engine_id", "Engine ID not found")
    return None


def _open(
    faults: Faults, attribute: str, names: Iterable[str], passphrases: Passphrases, engine: TokenEngine | None
) -> list[Source]:
    opened = (open_source(faults, attribute, name, passphrases, engine) for name in names)
    return [source for source in opened if source is not None]


def _check_keys_present(faults: Faults, found: _Found, attribute: str) -> None:
    if found.keys:
        return
    service = faults.service
    if attribute == "key":
        faults.refuse("key", f"Failed to load private key: none is in {shown(service.key or '')}")
    else:
        places = " or ".join(map(shown, service.cert))
        faults.refuse("cert", f"Failed to load private key: none is in {places}; name its file with `key`")


def _identities(faults: Faults, found: _Found) -> Iterable[Identity]:
    kinds: set[str] = set()
    for key, attribute, path in found.keys:
        leaf = next((each for each in found.certificates if each.belongs_to(key)), None)
        if leaf is None:
            if found.certificates:
                reason = f"the {key.kind} key of {path} belongs to none of the certificates of `cert`"
                faults.refuse(attribute, f"Private key does not match the certificate: {reason}")
        elif key.kind in kinds:
            faults.refuse(attribute, f"{path} has a second {key.kind} key; one of each kind can be used")
        else:
            kinds.add(key.kind)
            above = chain_above(leaf, found.certificates)
            faults.tell(DEBUG, "Private key check succeeded")
            _look_at_leaf(faults, leaf)
            for each in above:
                _look_at_dates(faults, each)
            yield Identity(leaf, key, above)


def chain_above(leaf: Certificate, certificates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """The issuers of ``leaf`` among ``certificates``, each behind what it issued; strangers are left out.

    Several issuers of one name (cross-signed authorities) are all kept, nearest first.
    """
    rest = [each for each in certificates if each is not leaf and each.der != leaf.der]
    chain: list[Certificate] = []
    wanting = [leaf]
    while wanting:
        child = wanting.pop(0)
        issuers = [each for each in rest if not child.self_issued and child.issued_by(each)]
        rest = [each for each in rest if all(each is not issuer for issuer in issuers)]
        chain += issuers
        wanting += issuers
    return tuple(chain)


def _look_at_leaf(faults: Faults, leaf: Certificate) -> None:
    _look_at_dates(faults, leaf)
    if leaf.security_bits < WEAK_BELOW:
        whose = f"the certificate of {leaf.subject}"
        faults.warn("cert", f"{whose} has a weak key: {leaf.key_kind}, {leaf.key_bits} bits")


def _look_at_dates(faults: Faults, certificate: Certificate) -> None:
    whose = f"the certificate of {certificate.subject}"
    with faults.about("cert", f"the dates of {whose} cannot be read"):
        left = certificate.ends_in
        if left < timedelta(0):
            faults.warn("cert", f"{whose} has expired ({certificate.ends}); peers will refuse it")
        elif left < SOON:
            faults.warn("cert", f"{whose} expires in {left.days} days ({certificate.ends})")
        if certificate.begins_in > timedelta(0):
            faults.warn("cert", f"{whose} is not valid yet; peers will refuse it")


def _parameters(faults: Faults, found: _Found) -> Parameters | None:
    for block, path in found.parameters:
        with faults.about("cert", f"line {block.line} of {path} is not a set of DH parameters"):
            return Parameters(block.data)
    return None
