"""Peers with chains of every kind, and what a service that trusts the root says of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.pki import Authority, Identity, Pki

SERVER_ONLY = (ExtendedKeyUsageOID.SERVER_AUTH,)
CLIENT_ONLY = (ExtendedKeyUsageOID.CLIENT_AUTH,)


@dataclass(frozen=True)
class Lists:
    """Files of revocation lists for the root and both authorities below it."""

    good: Path
    leaf_revoked: Path
    middle_revoked: Path
    expired: Path
    early: Path
    forged: Path
    root_only: Path


class Chains:
    """The root, `upper` below it, `lower` below that; leaves at every depth."""

    def __init__(self, pki: Pki) -> None:
        self.pki = pki
        self.upper = pki.authority("upper", pki.root)
        self.lower = pki.authority("lower", self.upper)
        self.crossed = pki.authority("crossed", pki.other_root)
        self.bridge = pki.authority("bridge", pki.root, twin=self.crossed)
        self.old = pki.authority("old", pki.root, days=(-10, -1))

    @cached_property
    def one(self) -> Identity:
        """A leaf that is trusted by itself: a chain of one."""
        return self.pki.issue("one", self_signed=True)

    @cached_property
    def two(self) -> Identity:
        return self.pki.issue("two")

    @cached_property
    def three(self) -> Identity:
        return self.pki.issue("three", issuer=self.upper, chain=(self.upper,))

    @cached_property
    def four(self) -> Identity:
        return self.pki.issue("four", issuer=self.lower, chain=(self.lower, self.upper))

    @cached_property
    def with_a_hole(self) -> Identity:
        """The same chain, with a hole: the upper authority is not shown."""
        return self.pki.issue("hole", issuer=self.lower, chain=(self.lower,))

    @cached_property
    def cross_signed(self) -> Identity:
        """Its issuer has certificates of both roots and shows both; the first leads to ours."""
        return self.pki.issue("cross", issuer=self.crossed, chain=(self.bridge, self.crossed))

    @cached_property
    def cross_signed_elsewhere(self) -> Identity:
        """The same issuer, whose certificate of our root is not shown."""
        return self.pki.issue("cross-2", issuer=self.crossed, chain=(self.crossed,))

    @cached_property
    def under_an_expired_authority(self) -> Identity:
        return self.pki.issue("aged", issuer=self.old, chain=(self.old,))

    @cached_property
    def only_for_servers(self) -> Identity:
        return self.pki.issue("only-server", usages=SERVER_ONLY)

    @cached_property
    def only_for_clients(self) -> Identity:
        return self.pki.issue("only-client", usages=CLIENT_ONLY)

    @cached_property
    def trusted(self) -> Path:
        return self.pki.write("chains.ca.pem", self.pki.root.pem + self.one.pem)

    @cached_property
    def lists(self) -> Lists:
        return Lists(
            good=self._lists("good"),
            leaf_revoked=self._lists("leaf", self.four, self.two),
            middle_revoked=self._lists("middle", self.lower),
            expired=self._lists("late", days=(-10, -1)),
            early=self._lists("early", days=(1, 10)),
            forged=self._lists("forged", forged=True),
            root_only=self.pki.revocation_list("root-only", self.pki.root),
        )

    def _lists(
        self,
        name: str,
        *revoked: Identity | Authority,
        days: tuple[float, float] = (-1, 30),
        forged: bool = False,
    ) -> Path:
        signer = self.pki.other_root.private_key if forged else None
        made = b""
        for issuer in (self.pki.root, self.upper, self.lower):
            path = self.pki.revocation_list(
                f"{name}-{issuer.name}", issuer, revoked, days=days, signer=signer
            )
            made += path.read_bytes()
        return self.pki.write(f"{name}.all.crl.pem", made)
