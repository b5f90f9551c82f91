"""Our own certificates: which key belongs to which leaf, and which certificates stand above it.

The files may hold their blocks in any order.  A key makes a leaf of the first certificate that has its
public half; what stands above is found by following issuers, so the peer gets a chain in the order that RFC
5246, 7.4.2 wants.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from culvert.openssl import Certificate, PrivateKey
from culvert.openssl.certificates import Parameters
from culvert.tls.faults import Faults
from culvert.tls.passphrases import Passphrases
from culvert.tls.pem import Block, read_blocks

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
    """What the files of one service hold."""

    certificates: list[Certificate]
    keys: list[tuple[PrivateKey, str, str]]
    """The key, the option and the file that it came from."""
    parameters: list[tuple[Block, str]]


def load_identities(
    faults: Faults, passphrases: Passphrases
) -> tuple[tuple[Identity, ...], Parameters | None]:
    """The identities of a service, one for each kind of key, and the DH parameters of its certificate
    files.
    """
    service = faults.service
    files = _read_files(faults, "cert", service.cert)
    found = _Found([], [], [])
    for path, blocks in files:
        _take_certificates(faults, found, path, blocks)
    key_files = _read_files(faults, "key", (service.key,)) if service.key else files
    attribute = "key" if service.key else "cert"
    for path, blocks in key_files:
        _take_keys(faults, found, attribute, path, blocks, passphrases)
    if files and key_files and not faults.errors:
        _check_keys_present(faults, found, attribute)
    identities = tuple(_identities(faults, found))
    return identities, _parameters(faults, found)


def _read_files(faults: Faults, attribute: str, paths: Iterable[str]) -> list[tuple[str, tuple[Block, ...]]]:
    files = []
    for path in paths:
        with faults.about(attribute, f"cannot read {path}"):
            files.append((path, read_blocks(path)))
    return files


def _take_certificates(faults: Faults, found: _Found, path: str, blocks: Sequence[Block]) -> None:
    before = len(faults.errors)
    count = 0
    for block in blocks:
        if block.is_parameters:
            found.parameters.append((block, path))
        if block.is_certificate:
            count += 1
            with faults.about("cert", f"line {block.line} of {path} is not a usable certificate"):
                found.certificates.append(Certificate.from_pem(block.data))
    if not count and len(faults.errors) == before:
        reason = f"{path} has no BEGIN CERTIFICATE line (PEM is needed)"
        faults.refuse("cert", f"Failed to load certificate: {reason}")


def _take_keys(
    faults: Faults,
    found: _Found,
    attribute: str,
    path: str,
    blocks: Sequence[Block],
    passphrases: Passphrases,
) -> None:
    for block in (block for block in blocks if block.is_key):
        with faults.about(attribute, f"Failed to load private key: line {block.line} of {path}"):
            found.keys.append((_open(block, path, passphrases), attribute, path))


def _open(block: Block, path: str, passphrases: Passphrases) -> PrivateKey:
    if block.is_encrypted:
        return passphrases.open(block.data, path)
    return PrivateKey.from_pem(block.data)


def _check_keys_present(faults: Faults, found: _Found, attribute: str) -> None:
    if found.keys:
        return
    service = faults.service
    if attribute == "key":
        faults.refuse("key", f"Failed to load private key: {service.key} has no BEGIN ... PRIVATE KEY line")
    else:
        places = " or ".join(service.cert)
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
            _look_at_leaf(faults, leaf)
            yield Identity(leaf, key, chain_above(leaf, found.certificates))


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
    whose = f"the certificate of {leaf.subject}"
    with faults.about("cert", f"the dates of {whose} cannot be read"):
        left = leaf.ends_in
        if left < timedelta(0):
            faults.warn("cert", f"{whose} has expired ({leaf.ends}); peers will refuse it")
        elif left < SOON:
            faults.warn("cert", f"{whose} expires in {left.days} days ({leaf.ends})")
        if leaf.begins_in > timedelta(0):
            faults.warn("cert", f"{whose} is not valid yet; peers will refuse it")
    if leaf.security_bits < WEAK_BELOW:
        faults.warn("cert", f"{whose} has a weak key: {leaf.key_kind}, {leaf.key_bits} bits")


def _parameters(faults: Faults, found: _Found) -> Parameters | None:
    for block, path in found.parameters:
        with faults.about("cert", f"line {block.line} of {path} is not a set of DH parameters"):
            return Parameters(block.data)
    return None
