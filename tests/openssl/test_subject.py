"""What a backend is told of a certificate."""

from __future__ import annotations

import pytest

from culvert.openssl.certificates import Certificate
from culvert.openssl.subject import common_name, signature_name
from tests.pki import Pki


@pytest.mark.parametrize(
    ("name", "signature"), [("client", "ecdsa-with-SHA256"), ("server_rsa", "ecdsa-with-SHA256")]
)
def test_the_name_and_the_signature_of_a_certificate(pki: Pki, name: str, signature: str) -> None:
    identity = getattr(pki, name)
    certificate = Certificate.from_pem(identity.cert.read_bytes())
    assert common_name(certificate) == identity.name.encode()
    assert signature_name(certificate) == signature
