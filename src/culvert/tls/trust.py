"""Whom we trust: CAfile, CApath, CAstore, and the names of authorities that clients are told."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass

from culvert.config.model import Service
from culvert.errors import TlsError
from culvert.openssl import Certificate
from culvert.openssl.store_uri import certificates_at
from culvert.tls.faults import Faults
from culvert.tls.identity import engine_of
from culvert.tls.passphrases import REMEMBERED, Passphrases
from culvert.tls.pem import read_blocks
from culvert.tls.sources import TokenSource, shown

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""How openssl-rehash(1) names a certificate."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What CAfile, CApath and CAstore hold at this moment."""

    certificates: tuple[Certificate, ...]
    """Of CAfile, CAstore and CAengine."""
    folder: str | None
    """CApath, looked through again by OpenSSL while it verifies."""
    named: tuple[Certificate, ...]
    """Of all: their names are sent to clients."""

    @property
    def digest(self) -> bytes:
        """Changes with any certificate."""
        summary = hashlib.sha256()
        for certificate in self.named:
            summary.update(hashlib.sha256(certificate.der).digest())
        return summary.digest()


def load_trust(faults: Faults, passphrases: Passphrases = REMEMBERED) -> Trust:
    """Read CAfile, CApath, CAstore and CAengine of a service."""
    service = faults.service
    certificates = _from_file(faults) if service.ca_file else ()
    if service.ca_store:
        certificates += _from_store(faults, service.ca_store)
    if service.ca_engine:
        certificates += _from_engine(faults, passphrases)
    in_folder = _from_folder(faults) if service.ca_path else ()
    _check_source(faults, bool(certificates or in_folder))
    return Trust(certificates, service.ca_path, _without_twins((*certificates, *in_folder)))


def _check_source(faults: Faults, some: bool) -> None:
    service = faults.service
    if not (service.verify_chain or service.verify_peer) or faults.errors:
        return
    attribute = "verify_chain" if service.verify_chain else "verify_peer"
    if not (service.ca_file or service.ca_path or service.ca_store or service.ca_engine):
        faults.refuse(attribute, 'Either "CAengine", "CAfile", "CApath" or "CAstore" has to be configured')
    elif not some:
        faults.warn(
            attribute, f"No trusted certificates found in {_source(service)}: every peer will be refused"
        )


def _source(service: Service) -> str:
    named = {
        "CAengine": service.ca_engine,
        "CAstore": service.ca_store,
        "CAfile": service.ca_file,
    }
    return next((name for name, value in named.items() if value), "CApath (openssl rehash names its files)")


def _from_file(faults: Faults) -> tuple[Certificate, ...]:
    path, found = faults.service.ca_file or "", []
    with faults.about("ca_file", f"cannot read {path}"):
        for block in read_blocks(path):
            if block.is_certificate:
                with faults.about("ca_file", f"line {block.line} of {path} is not a usable certificate"):
                    found.append(Certificate.from_pem(block.data))
        if not found:
            faults.refuse("ca_file", f"No trusted certificates found: {path} has no BEGIN CERTIFICATE line")
    return tuple(found)


def _from_engine(faults: Faults, passphrases: Passphrases) -> tuple[Certificate, ...]:
    """Those of CAengine; one that is not there trusts nobody, so the others may stand."""
    engine = engine_of(faults)
    if engine is None:
        return ()
    found: list[Certificate] = []
    for name in faults.service.ca_engine:
        try:
            found.append(TokenSource(name, engine, passphrases).certificate())
        except TlsError as error:
            faults.warn("ca_engine", f'CAengine failed to retrieve "{shown(name)}": {error.reason}')
    return tuple(found)


def _from_folder(faults: Faults) -> tuple[Certificate, ...]:
    path, found = faults.service.ca_path or "", []
    with faults.about("ca_path", f"cannot read {path}"):
        for name in sorted(os.listdir(path)):
            if _HASHED.fullmatch(name):
                found += _of_one_file(faults, os.path.join(path, name))
    return tuple(found)


def _from_store(faults: Faults, uri: str) -> tuple[Certificate, ...]:
    found: list[Certificate] = []
    before = len(faults.errors)
    try:
        found, unread = certificates_at(uri)
        for reason in unread:
            faults.warn("ca_store", shown(f"cannot read {reason}"))
    except TlsError as error:  # OpenSSL's words may have the whole URI in them
        faults.refuse("ca_store", shown(f"cannot read {uri}: {error.reason or error.doing}"))
    if not found and len(faults.errors) == before:
        faults.refuse("ca_store", f"No trusted certificates found: {shown(uri)} has no certificate")
    return tuple(found)


def _of_one_file(faults: Faults, path: str) -> list[Certificate]:
    """The certificates of such a file; one that OpenSSL cannot read trusts nobody, so it may stand."""
    try:
        return [Certificate.from_pem(block.data) for block in read_blocks(path) if block.is_certificate]
    except OSError as error:
        faults.warn("ca_path", f"cannot read {path}: {error.strerror or error}")
    except TlsError as error:
        faults.warn("ca_path", f"{path} is not a usable certificate: {error.reason}")
    return []


def _without_twins(certificates: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    return tuple({certificate.der: certificate for certificate in certificates}.values())
