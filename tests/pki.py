"""A small certification authority for tests: keys and certificates made on the spot, as PEM files.

The fixture ``pki`` lives for the whole run.  Ready-made identities are attributes (``pki.server.chain`` ...);
``pki.issue(...)`` makes any other.  The names of the files say what they are.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import ipaddress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = datetime.timedelta(days=1)
BOTH_USES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Authority:
    """Someone who signs: a root or an intermediate."""

    name: str
    certificate: x509.Certificate
    private_key: PrivateKey
    ca: Path
    """Its own certificate, PEM: what ``CAfile`` names."""

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Identity:
    """A leaf certificate with its key, in every shape that a configuration may name."""

    name: str
    certificate: x509.Certificate
    private_key: PrivateKey
    cert: Path
    """The leaf alone, PEM."""
    key: Path
    """The private key alone, PEM (PKCS#8), mode 0600."""
    chain: Path
    """The leaf, then its intermediates; no key."""
    both: Path
    """The private key, the leaf, its intermediates: one file for ``cert``; mode 0600."""

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def pin(self) -> str:
        """The value of the option `pin` for its key."""
        public = self.private_key.public_key()
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"sha256/{base64.b64encode(hashlib.sha256(der).digest()).decode()}"

    @property
    def key_pem(self) -> bytes:
        return private_pem(self.private_key)


def private_pem(key: PrivateKey, password: bytes | None = None) -> bytes:
    """The key as PEM (PKCS#8), encrypted when a password is given."""
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        protection = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)


def new_key(kind: str = "ec") -> PrivateKey:
    """A fresh key: ``ec`` is P-256, ``rsa`` has 2048 bits, ``rsa1024`` is weak."""
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=1024 if kind == "rsa1024" else 2048)


def _subject(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "PL"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Culvert Tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _general_name(text: str) -> x509.GeneralName:
    if "@" in text:
        return x509.RFC822Name(text)
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _access(responders: tuple[str, ...]) -> x509.AuthorityInformationAccess:
    method = AuthorityInformationAccessOID.OCSP
    places = [x509.UniformResourceIdentifier(url) for url in responders]
    return x509.AuthorityInformationAccess([x509.AccessDescription(method, place) for place in places])


def _certificate(
    subject: x509.Name,
    key: PrivateKey,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    days: tuple[float, float],
) -> tuple[x509.CertificateBuilder, PrivateKey]:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    return builder, issuer_key


class Pki:
    """Authorities and identities below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = self.authority("root")
        self.intermediate = self.authority("intermediate", self.root)
        self.other_root = self.authority("other-root")
        self.ca = self.root.ca
        self.other_ca = self.other_root.ca

    def authority(
        self,
        name: str,
        parent: Authority | None = None,
        *,
        kind: str = "ec",
        twin: Authority | None = None,
        days: tuple[float, float] = (-1, 3650),
        responders: tuple[str, ...] = (),
    ) -> Authority:
        """Make a CA; without ``parent`` it signs itself.  ``twin``: one whose name and key it shares."""
        key = twin.private_key if twin else new_key(kind)
        subject = twin.certificate.subject if twin else _subject(name)
        issuer, issuer_key = (parent.certificate.subject, parent.private_key) if parent else (subject, key)
        builder, signer = _certificate(subject, key, issuer, issuer_key, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        if responders:
            builder = builder.add_extension(_access(responders), critical=False)
        certificate = builder.sign(signer, hashes.SHA256())
        path = self.write(f"{name}.ca.pem", certificate.public_bytes(serialization.Encoding.PEM))
        return Authority(name, certificate, key, path)

    def issue(
        self,
        name: str,
        *,
        issuer: Authority | None = None,
        self_signed: bool = False,
        names: tuple[str, ...] = LOCAL_NAMES,
        kind: str = "ec",
        key: PrivateKey | None = None,
        days: tuple[float, float] = (-1, 365),
        common_name: str | None = None,
        chain: tuple[Authority, ...] = (),
        usages: tuple[x509.ObjectIdentifier, ...] = BOTH_USES,
        responders: tuple[str, ...] = (),
    ) -> Identity:
        """Make a leaf for ``names`` (DNS, IP, mail); ``days`` is its life counted from now.

        responders: URLs of its issuer's OCSP.
        """
        key = key or new_key(kind)
        subject = _subject(common_name or name)
        by = issuer or self.root
        origin, signer = (subject, key) if self_signed else (by.certificate.subject, by.private_key)
        builder, signer = _certificate(subject, key, origin, signer, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if responders:
            builder = builder.add_extension(_access(responders), critical=False)
        if names:
            alternatives = [_general_name(text) for text in names]
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        return self._identity(name, builder.sign(signer, hashes.SHA256()), key, chain)

    def revocation_list(
        self,
        name: str,
        issuer: Authority,
        revoked: tuple[Identity | Authority, ...] = (),
        *,
        days: tuple[float, float] = (-1, 30),
        signer: PrivateKey | None = None,
    ) -> Path:
        """Make a list of an authority (PEM), valid for ``days`` counted from now; ``signer``: a wrong key."""
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(now + days[0] * DAY)
            .next_update(now + days[1] * DAY)
        )
        for each in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(now - DAY / 2).build())
        made = builder.sign(signer or issuer.private_key, hashes.SHA256())
        return self.write(f"{name}.crl.pem", made.public_bytes(serialization.Encoding.PEM))

    def write(self, name: str, data: bytes, mode: int = 0o600) -> Path:
        """Put ``data`` into a file of the folder and give its path."""
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def _identity(
        self, name: str, certificate: x509.Certificate, key: PrivateKey, chain: tuple[Authority, ...]
    ) -> Identity:
        leaf = certificate.public_bytes(serialization.Encoding.PEM)
        above = b"".join(authority.pem for authority in chain)
        return Identity(
            name,
            certificate,
            key,
            cert=self.write(f"{name}.cert.pem", leaf),
            key=self.write(f"{name}.key.pem", private_pem(key)),
            chain=self.write(f"{name}.chain.pem", leaf + above),
            both=self.write(f"{name}.both.pem", private_pem(key) + leaf + above),
        )

    @cached_property
    def server(self) -> Identity:
        """P-256, localhost, 127.0.0.1 and ::1, signed by the root."""
        return self.issue("server")

    @cached_property
    def server_rsa(self) -> Identity:
        """RSA-2048, the same names."""
        return self.issue("server-rsa", kind="rsa")

    @cached_property
    def chained(self) -> Identity:
        """A server below the intermediate; ``chain`` has both certificates."""
        return self.issue("chained", issuer=self.intermediate, chain=(self.intermediate,))

    @cached_property
    def client(self) -> Identity:
        """A client with the mail address client@example.com."""
        return self.issue("client", names=("client@example.com", "client.example.com"))

    @cached_property
    def expired(self) -> Identity:
        """A server whose certificate ended yesterday."""
        return self.issue("expired", days=(-10, -1))

    @cached_property
    def not_yet_valid(self) -> Identity:
        """A server whose certificate begins tomorrow."""
        return self.issue("not-yet-valid", days=(1, 10))

    @cached_property
    def other_server(self) -> Identity:
        """The names of ``server``, signed by ``other_root``."""
        return self.issue("other-server", issuer=self.other_root)

    @cached_property
    def other_client(self) -> Identity:
        """A client signed by ``other_root``."""
        return self.issue("other-client", issuer=self.other_root, names=("client@example.com",))

    @cached_property
    def self_signed(self) -> Identity:
        """A leaf that signed itself, names as ``server``."""
        return self.issue("self-signed", self_signed=True)

    @cached_property
    def wrong_name(self) -> Identity:
        """Signed by the root for a name that nobody asks for."""
        return self.issue("wrong-name", names=("elsewhere.example.com",))


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """One authority for the whole run."""
    return Pki(tmp_path_factory.mktemp("pki"))
