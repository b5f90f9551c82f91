"""Services that share an address: `sni = SECTION:PATTERN` (stunnel(8)).

Theory of operation.  A client names a service in its ClientHello, and the connection goes on there (see
culvert.openssl.switching).  Ten thousand such services are not ten thousand contexts of OpenSSL, which cost
14 KiB each: services whose options agree in all that a context is made of share one, and each has only its
certificate, its key and its session context, which are put into the connection.  What an option means for
the context is not asked: whatever is not listed as OWN keeps services apart when it differs.

Sessions are kept, and tickets sealed, by the service that accepted the connection; they are resumed only
under the session context of the service that made them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import operator
from collections.abc import Iterable, Sequence
from typing import Final

from culvert.config.model import Service
from culvert.openssl import Certificate, PrivateKey
from culvert.openssl.certificates import Parameters
from culvert.openssl.switching import Switch
from culvert.tls.assembly import (
    NO_LATE_RESUMPTION,
    Furnished,
    Shown,
    build,
    furnish,
    load_own,
    policy_of,
)
from culvert.tls.faults import Faults
from culvert.tls.identity import Identity
from culvert.tls.passphrases import REMEMBERED, Passphrases
from culvert.tls.policy import TlsPolicy
from culvert.tls.resumption import resumes
from culvert.tls.stapling import apply_stapling, may_be_stapled
from culvert.tls.tickets import KEPT, Chains

OWN: Final = frozenset(
    (
        *("name", "at", "positions", "service", "sni", "cert", "key", "accept", "connect", "local", "socket"),
        *("exec", "exec_args", "pty", "log_id", "failover", "delay", "close_notify", "reset"),
        *("timeout_busy", "timeout_close", "timeout_connect", "timeout_idle"),
    )
)
"""Attributes that no context is made of."""

SHARED: Final = tuple(
    each.name for each in dataclasses.fields(Service) if each.compare and each.name not in OWN
)

_shared_facts = operator.attrgetter(*SHARED)


class Builder:
    """Makes the policies of one configuration, each from its service; what can be shared is made once."""

    def __init__(
        self, services: Iterable[Service], passphrases: Passphrases = REMEMBERED, chains: Chains = KEPT
    ) -> None:
        self._passphrases, self._chains = passphrases, chains
        self._hosted: dict[int, list[Service]] = {}
        self._rooms: dict[tuple[object, ...], Furnished] = {}
        self._identities: dict[tuple[object, ...], tuple[tuple[Identity, ...], Parameters | None]] = {}
        self._homes: dict[int, list[tuple[Service, str]]] = {}
        by_name: dict[str, Service] = {}
        for service in services:
            for line in service.sni if not service.client else ():
                section, _, pattern = line.partition(":")
                home = by_name.get(section)
                if home is not None:  # else the checks have refused it
                    self._hosted.setdefault(id(home), []).append(service)
                    self._homes.setdefault(id(service), []).append((home, pattern))
            by_name.setdefault(service.name, service)

    def hosted_by(self, service: Service) -> Sequence[Service]:
        """The services that it hands connections to."""
        return self._hosted.get(id(service), ())

    def homes_of(self, service: Service) -> Sequence[tuple[Service, str]]:
        """The services that hand connections to it, each with a pattern of names."""
        return self._homes.get(id(service), ())

    def build(self, service: Service) -> TlsPolicy:
        """Load, check and set up a service's TLS.  Raises ConfigErrors."""
        if service.sni and not service.client:
            return self._build_hosted(service)
        return build(service, self._passphrases, self._chains, self.hosted_by(service))

    def _build_hosted(self, service: Service) -> TlsPolicy:
        faults = Faults(service)
        identities, parameters = self._own(faults)
        furnished = self._shared(faults)
        shown = Shown(identities)
        apart = parameters is not None or may_be_stapled(service, identities, furnished.trust)
        if apart:
            furnished = self._furnish(faults, identities, parameters)
            shown = Shown(identities, *apply_stapling(faults, furnished.context, identities, furnished.trust))
        name = _session_context(service, furnished) if resumes(service) else None
        switch = Switch(furnished.context, () if apart else [_parts(each) for each in identities], name)
        if not faults.errors:
            with faults.about("cert", "the certificate cannot be used"):
                switch.try_identities()
        switch.tells_keys = furnished.secrets is not None
        switch.tells_protocols = bool(service.alpn)
        return policy_of(faults, furnished, shown, switch=switch)

    def _own(self, faults: Faults) -> tuple[tuple[Identity, ...], Parameters | None]:
        """Certificates and keys; those of the same files are read once, as long as nothing is to be said of
        them.
        """
        service = faults.service
        key = (service.cert, service.key, service.engine_num, service.engine_id, service.client)
        found = self._identities.get(key)
        if found is None:
            found = load_own(faults, self._passphrases)
            if not faults.errors and not faults.warnings:
                self._identities[key] = found
        return found

    def _shared(self, faults: Faults) -> Furnished:
        key = _shared_facts(faults.service)
        furnished = self._rooms.get(key)
        if furnished is None:
            before = len(faults.errors)
            furnished = self._furnish(faults, (), None)
            if len(faults.errors) == before:
                self._rooms[key] = furnished
        return furnished

    def _furnish(
        self, faults: Faults, identities: Sequence[Identity], parameters: Parameters | None
    ) -> Furnished:
        furnished = furnish(faults, self._passphrases, identities, parameters)
        context = furnished.context
        context.set_options(NO_LATE_RESUMPTION)
        if resumes(faults.service):
            context.resume_elsewhere()
        else:
            context.refuse_resumption()
        return furnished


def _parts(identity: Identity) -> tuple[Certificate, PrivateKey, Sequence[Certificate]]:
    return identity.leaf, identity.key, identity.above


def _session_context(service: Service, furnished: Furnished) -> bytes:
    """Its names are in it, so two services of one name resume each other's sessions no more than others."""
    names = repr((service.sni, furnished.session_context(service)))
    return hashlib.sha256(names.encode("utf-8", "surrogateescape")).digest()
