"""What is read from certificates and keys."""

from __future__ import annotations

import datetime

import pytest

from culvert.errors import TlsError
from culvert.openssl import Certificate, PrivateKey
from culvert.openssl.certificates import Parameters
from tests.pki import Pki, private_pem


def read(pem: bytes) -> Certificate:
    return Certificate.from_pem(pem)


def test_names_are_written_as_stunnel_writes_them(pki: Pki) -> None:
    certificate = read(pki.server.pem)
    assert certificate.subject == "C=PL, O=Culvert Tests, CN=server"
    assert certificate.issuer == "C=PL, O=Culvert Tests, CN=root"


def test_a_name_keeps_utf8_and_escapes_controls(pki: Pki) -> None:
    subject = read(pki.issue("odd", common_name="żółw\n\x1b[31m").pem).subject
    assert "żółw" in subject
    assert "\n" not in subject
    assert "\x1b" not in subject


def test_a_certificate_knows_its_key(pki: Pki) -> None:
    key = PrivateKey.from_pem(pki.server.key_pem)
    assert key.kind == "EC"
    assert read(pki.server.pem).belongs_to(key)
    assert not read(pki.client.pem).belongs_to(key)
    assert not read(pki.server_rsa.pem).belongs_to(key)


def test_public_keys_are_compared(pki: Pki) -> None:
    twin = pki.issue("twin", key=pki.server.private_key)
    assert read(pki.server.pem).same_key(read(twin.pem))
    assert not read(pki.server.pem).same_key(read(pki.client.pem))


def test_issuers_are_recognised(pki: Pki) -> None:
    root, intermediate = read(pki.root.pem), read(pki.intermediate.pem)
    chained = read(pki.chained.pem)
    assert chained.issued_by(intermediate)
    assert not chained.issued_by(root)
    assert intermediate.issued_by(root)
    assert root.self_issued
    assert not intermediate.self_issued


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("www.example.com", "*.example.com"),
        ("WWW.EXAMPLE.COM", "*.example.com"),
        ("a.b.example.com", None),
        ("example.com", None),
        ("www.example.com.evil.test", None),
        ("plain.test", "plain.test"),
        ("", None),
    ],
)
def test_hosts_match_by_the_rules_of_rfc_6125(pki: Pki, host: str, name: str | None) -> None:
    certificate = read(pki.issue("wild", names=("*.example.com", "plain.test")).pem)
    assert certificate.matching_host(host) == name


def test_a_host_name_with_a_nul_never_matches(pki: Pki) -> None:
    assert read(pki.server.pem).matching_host("localhost\0.evil.test") is None


def test_addresses_and_mailboxes_match_exactly(pki: Pki) -> None:
    server, client = read(pki.server.pem), read(pki.client.pem)
    assert server.has_ip("127.0.0.1")
    assert server.has_ip("::1")
    assert server.has_ip("0:0:0:0:0:0:0:1")
    assert not server.has_ip("127.0.0.2")
    assert not server.has_ip("nonsense")
    assert client.has_email("client@example.com")
    assert not client.has_email("other@example.com")


def test_dates_are_counted_from_now(pki: Pki) -> None:
    day = datetime.timedelta(days=1)
    assert read(pki.server.pem).ends_in > 300 * day
    assert read(pki.expired.pem).ends_in < datetime.timedelta(0)
    assert read(pki.not_yet_valid.pem).begins_in > datetime.timedelta(0)
    assert read(pki.server.pem).ends.endswith("GMT")


def test_strength_is_counted_in_bits(pki: Pki) -> None:
    assert (read(pki.server.pem).key_kind, read(pki.server.pem).key_bits) == ("EC", 256)
    assert read(pki.server_rsa.pem).security_bits == 112
    assert read(pki.issue("weak", kind="rsa1024").pem).security_bits < 112


def test_an_encrypted_key_is_never_asked_for(pki: Pki) -> None:
    locked = private_pem(pki.server.private_key, b"open sesame")
    assert PrivateKey.from_pem(locked, b"open sesame").kind == "EC"
    for phrase in (None, b"wrong", b""):
        with pytest.raises(TlsError):
            PrivateKey.from_pem(locked, phrase)


@pytest.mark.parametrize("reader", [Certificate.from_pem, PrivateKey.from_pem, Parameters])
@pytest.mark.parametrize(
    "pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\0"]
)
def test_what_is_no_pem_is_refused(reader: type, pem: bytes) -> None:
    with pytest.raises(TlsError):
        reader(pem)
