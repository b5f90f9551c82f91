"""Serial numbers and other names of certificates."""

from __future__ import annotations

import ipaddress

from cryptography import x509

from culvert.openssl.altnames import other_names, serial_number
from culvert.openssl.certificates import Certificate
from tests.pki import Pki


def test_a_serial_number_is_hexadecimal(pki: Pki) -> None:
    made = pki.server
    assert int(serial_number(Certificate.from_pem(made.pem)), 16) == made.certificate.serial_number


def test_the_other_names_are_those_that_the_certificate_has(pki: Pki) -> None:
    found = list(other_names(Certificate.from_pem(pki.server.pem)))
    names = pki.server.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [text for kind, text in found if kind == "DNS"] == names.get_values_for_type(x509.DNSName)
    addresses = [ipaddress.ip_address(text) for kind, text in found if kind == "IP"]
    assert addresses == names.get_values_for_type(x509.IPAddress)


def test_a_certificate_without_them_has_none(pki: Pki) -> None:
    root = Certificate.from_pem(pki.root.pem)
    assert list(other_names(root)) == []
